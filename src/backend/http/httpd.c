/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/http/httpd.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "backend/http/clients.h"
#include "backend/http/http-stats.h"
#include "backend/http/https.h"
#include "backend/json.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/pace.h"
#include "io/listen.h"

#define IDLE_TIMEOUT_S 30
#define RAW_BODIES_MAX 2	     /* at a time, in all */
#define CONNECTION_BYTES (32U << 10) /* headers and read buffer of one connection */
#define LISTEN_BACKLOG 64
#define ETAG_MAX 20
#define BODY_TAKEN_BYTES_MAX (64U << 20) /* of one that is too large */
#define SHARED_FROM 16			 /* connections; fewer are not shared out among addresses */
#define STREAM_BYTES_MAX (4U << 20)	 /* of events that a client has not taken yet */
#define STREAM_BLOCK_BYTES 16384U
#define STREAM_QUIET_S 15 /* then a comment, so that a client that is gone is found */
/* Of answers under way: what clients have not taken yet. One address has half at most, but for its first. */
#define ANSWERS_BYTES_MAX ((size_t)256 << 20)
#define RETRY_AFTER_S "5"
#define REFUSED_LINE "Error processing request"
/* What a TLS handshake costs is asked for by anyone: beyond it connections are refused. */
#define HANDSHAKES_PER_S 100
#define HANDSHAKES_BURST 100

struct sonde_httpd {
	struct sonde_httpd_config config;
	struct MHD_Daemon *daemon;
	sd_event_source *io, *timer;
	uint16_t port;
	int listen_fd; /* handed back by MHD_quiesce_daemon() */
	struct sonde_pace handshakes;
	struct sonde_http_stats stats;
	struct sonde_http_clients clients;
	struct exchange *stream[SONDE_HTTP_STREAMS_MAX]; /* NULL where there is room */
	unsigned raw_bodies;				 /* under way */
	bool draining;
};

struct exchange {
	struct sonde_http_request request;
	struct sonde_httpd *server;
	struct sonde_buf body;
	size_t body_bytes; /* as sent, also where it is not kept */
	char path[SONDE_HTTP_PATH_MAX];
	char method[8];
	char sent_method[8]; /* HEAD too */
	uint64_t began_ns;
	int status; /* of the answer; 0: none yet */
	bool too_large, suspended, ready, answered, noted;
	bool raw;		 /* its body is no JSON */
	bool has_slot;		 /* of the raw bodies: else what comes is not kept */
	struct sonde_buf events; /* of a stream: what is not sent yet */
	unsigned quiet_s;	 /* since there was any */
	bool over;		 /* nothing comes behind them */
};

static int arm_timer(struct sonde_httpd *h)
{
	MHD_UNSIGNED_LONG_LONG ms = 0;

	if (MHD_get_timeout(h->daemon, &ms) != MHD_YES)
		return sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
	/* It is relative milliseconds, and edge-triggered epoll alone would lose what MHD has buffered. */
	if (sd_event_source_set_time_relative(h->timer, ms * 1000) < 0)
		return -EINVAL;
	return sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT);
}

static void run(struct sonde_httpd *h)
{
	if (MHD_run(h->daemon) != MHD_YES)
		(void)sonde_log_warn(0, "the HTTP server cannot run, ignoring");
	if (arm_timer(h) < 0)
		(void)sonde_log_warn(0, "cannot arm the HTTP server's timer, ignoring");
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	run(ctx);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	run(ctx);
	return 0;
}

const char *sonde_http_query(const struct sonde_http_request *req, const char *name)
{
	return MHD_lookup_connection_value(req->connection, MHD_GET_ARGUMENT_KIND, name);
}

static const char *header(struct MHD_Connection *c, const char *name)
{
	return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

const char *sonde_http_header(const struct sonde_http_request *req, const char *name)
{
	return header(req->connection, name);
}

/* NULL where memory ran out. */
static struct sonde_http_client *client_of(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

/* `Authorization: Bearer TOKEN`, or the header that SkyWalking's agents use. */
static const char *token_of(struct MHD_Connection *c)
{
	const char *bearer = header(c, "Authorization");

	if (bearer && strncasecmp(bearer, "Bearer ", 7) == 0)
		return bearer + 7;
	return header(c, "authentication");
}

/* Its certificate has been verified. */
static void identify(struct exchange *x, struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info = NULL;
	const struct sonde_httpd *h = x->server;
	char name[SONDE_HTTPS_NAME_MAX] = "";
	bool named = false;

	if (h->config.https)
		info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	if (info)
		named = sonde_https_client_name(h->config.https, info->tls_session, name) == 0;
	sonde_access_identify(h->config.access, token_of(c), named ? name : NULL,
			      &x->request.identity);
}

static void set_address(struct exchange *x, struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	char *text = x->request.address;

	if (!info || !info->client_addr)
		return;
	(void)getnameinfo(info->client_addr,
			  info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
								   : sizeof(struct sockaddr_in),
			  text, SONDE_HTTP_ADDRESS_MAX, NULL, 0, NI_NUMERICHOST);
}

static bool is_json(const char *type)
{
	return type && strncasecmp(type, "application/json", 16) == 0 &&
	       (type[16] == '\0' || type[16] == ';' || type[16] == ' ');
}

static int check_client(const struct sonde_httpd *h, struct MHD_Connection *c,
			struct sonde_problem *p)
{
	const union MHD_ConnectionInfo *info;
	char words[SONDE_HTTPS_WORDS_MAX];

	if (!h->config.https)
		return 0;
	info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	if (sonde_https_check_client(h->config.https, info ? info->tls_session : NULL, words) < 0)
		return sonde_problem_set(p, 403, NULL, "%s", words);
	return 0;
}

static size_t body_max(const struct exchange *x)
{
	return x->raw ? x->server->config.max_raw_bytes : x->server->config.max_body_bytes;
}

/* A kubelet's probe has no token to send. */
static bool needs_token(const struct exchange *x)
{
	const char *open_path = x->server->config.open_path;

	return !open_path || strcmp(x->method, "GET") != 0 || strcmp(x->path, open_path) != 0;
}

/* What is wrong before any route looks. Return: 0, or -EINVAL with the problem set. */
static int check(struct exchange *x, struct MHD_Connection *c)
{
	struct sonde_problem *p = &x->request.problem;

	if (check_client(x->server, c, p) < 0)
		return -EINVAL;
	identify(x, c);
	if (x->request.identity.role == SONDE_ROLE_NONE && needs_token(x))
		return sonde_problem_set(p, 401, NULL,
					 header(c, "Authorization") || header(c, "authentication")
						 ? "the token is not this server's"
						 : "a token is needed: Authorization: Bearer …");
	if (x->raw && !x->has_slot && x->request.identity.role == SONDE_ROLE_OPERATE)
		return sonde_problem_set(p, 503, NULL, "others are uploading, try again");
	if (x->too_large)
		x->server->stats.bodies_refused++;
	if (x->too_large)
		return sonde_problem_set(p, 413, NULL, "the body may have at most %zu bytes",
					 body_max(x));
	/* Also what keeps other sites' pages out: a browser asks first, and gets no leave. */
	if (x->body_bytes > 0 && !x->raw && !is_json(header(c, "Content-Type")))
		return sonde_problem_set(p, 415, NULL,
					 "Content-Type: application/json was expected");
	if (strcmp(x->method, "GET") != 0 && header(c, "Origin") && !x->raw &&
	    !is_json(header(c, "Content-Type")))
		return sonde_problem_set(p, 403, NULL, "requests of other sites are not taken");
	return 0;
}

static int parse_body(struct exchange *x)
{
	char words[160];
	int line = 0, r;

	if (x->body.len == 0)
		return 0;
	if (x->raw) {
		x->request.raw = &x->body;
		return 0;
	}
	r = sonde_json_parse(sonde_buf_str(&x->body), x->body.len, &x->request.body, &line, words);
	if (r < 0)
		return sonde_problem_set(&x->request.problem, 400, NULL, "the body is not JSON: %s",
					 words);
	return 0;
}

static char *render(struct exchange *x, int *ret_status, bool *ret_problem)
{
	struct sonde_http_request *req = &x->request;
	_cleanup_json_ json_t *problem = NULL;
	char *text = NULL;

	*ret_problem = req->problem.status != 0;
	*ret_status = *ret_problem ? req->problem.status : req->status;
	if (!*ret_problem && req->text)
		text = TAKE_PTR(req->text);
	else if (!*ret_problem && req->answer)
		text = json_dumps(req->answer, JSON_COMPACT);
	/* It is larger than its text, which may be under way for long. */
	json_decref(req->answer);
	req->answer = NULL;
	if (*ret_problem) {
		problem = sonde_problem_json(&req->problem);
		text = problem ? json_dumps(problem, JSON_COMPACT) : NULL;
	}
	if (!text) {
		*ret_status = 500;
		*ret_problem = true;
		text = strdup(
			"{\"type\":\"about:blank\",\"title\":\"Internal Server Error\",\"status\":500,"
			"\"detail\":\"out of memory\"}");
	}
	return text;
}

/* Of what is sent: a page that asks again each second is told in a word that nothing is new. */
static void make_etag(const char *text, size_t n, char ret[static ETAG_MAX])
{
	uint64_t h = 14695981039346656037ULL;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)text[i]) * 1099511628211ULL;
	(void)snprintf(ret, ETAG_MAX, "\"%016" PRIx64 "\"", h);
}

/* A list, or `*`; a weak tag is as good as a strong one here. */
static bool is_known(struct MHD_Connection *c, const char *etag)
{
	const char *list = header(c, "If-None-Match");

	return list && (strcmp(list, "*") == 0 || strstr(list, etag));
}

static bool add_headers(struct MHD_Response *response, const struct exchange *x, int status,
			bool problem, const char *etag)
{
	const char *own = x->request.text_type;
	const char *type = problem ? "application/problem+json" : own ? own : "application/json";

	bool varies = own && strcmp(own, "application/json") != 0 && !x->request.streams;

	return (!varies || MHD_add_response_header(response, "Vary", "Accept") == MHD_YES) &&
	       MHD_add_response_header(response, "Content-Type", type) == MHD_YES &&
	       MHD_add_response_header(response, "Cache-Control",
				       etag[0] ? "no-cache" : "no-store") == MHD_YES &&
	       (!etag[0] || MHD_add_response_header(response, "ETag", etag) == MHD_YES) &&
	       MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES &&
	       (status != 401 ||
		MHD_add_response_header(response, "WWW-Authenticate", "Bearer") == MHD_YES) &&
	       (!problem || status != 503 ||
		MHD_add_response_header(response, "Retry-After", RETRY_AFTER_S) == MHD_YES) &&
	       (!x->request.allow[0] ||
		MHD_add_response_header(response, "Allow", x->request.allow) == MHD_YES) &&
	       (!x->request.location[0] ||
		MHD_add_response_header(response, "Location", x->request.location) == MHD_YES);
}

/*
 * May @n bytes more be under way to this client? One that is no larger than what its connection has anyway may always, so
 * that health and the reason for a refusal are told; and so may what tells of something that was done (201, 202).
 */
static bool has_room(struct sonde_httpd *h, const struct sonde_http_client *client, int status,
		     size_t n)
{
	struct sonde_http_share all, own = {0};

	if (status != 200 || n <= CONNECTION_BYTES)
		return true;
	sonde_http_clients_sum(&h->clients, NULL, &all);
	if (client)
		sonde_http_clients_sum(&h->clients, (const struct sockaddr *)&client->address,
				       &own);
	if (all.answer_bytes + n <= ANSWERS_BYTES_MAX &&
	    (own.answer_bytes == 0 || own.answer_bytes + n <= ANSWERS_BYTES_MAX / 2))
		return true;
	h->stats.answers_refused++;
	return false;
}

static size_t length_of(const struct exchange *x, const char *text, bool problem)
{
	return !problem && x->request.text_bytes > 0 ? x->request.text_bytes : strlen(text);
}

/* What is sent, "" where the client has it already: to be freed, NULL when memory ran out. */
static char *make_text(struct exchange *x, struct MHD_Connection *c, int *ret_status,
		       bool *ret_problem, size_t *ret_n, char ret_etag[static ETAG_MAX])
{
	char *text = render(x, ret_status, ret_problem);

	if (!text)
		return NULL;
	*ret_n = length_of(x, text, *ret_problem);
	ret_etag[0] = '\0';
	if (*ret_status == 200 && strcmp(x->method, "GET") == 0)
		make_etag(text, *ret_n, ret_etag);
	if (ret_etag[0] && is_known(c, ret_etag)) {
		free(text);
		*ret_status = 304;
		*ret_n = 0;
		return strdup("");
	}
	if (has_room(x->server, client_of(c), *ret_status, *ret_n))
		return text;
	free(text);
	ret_etag[0] = '\0';
	(void)sonde_problem_set(&x->request.problem, 503, NULL,
				"too much is on its way to clients that do not read it, try again");
	text = render(x, ret_status, ret_problem);
	*ret_n = text ? strlen(text) : 0;
	return text;
}

static void note(struct exchange *x, int status)
{
	const struct sonde_httpd_config *config = &x->server->config;

	if (!x->noted && config->note)
		config->note(config->ctx, &x->request, status);
	x->noted = true;
}

static enum MHD_Result respond(struct exchange *x, struct MHD_Connection *c)
{
	struct sonde_http_client *client = client_of(c);
	struct MHD_Response *response;
	char etag[ETAG_MAX] = "";
	enum MHD_Result result;
	bool problem;
	size_t n;
	int status;
	char *text;

	text = make_text(x, c, &status, &problem, &n, etag);
	if (!text)
		return MHD_NO;
	response = MHD_create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	result = add_headers(response, x, status, problem, etag)
			 ? MHD_queue_response(c, (unsigned)status, response)
			 : MHD_NO;
	MHD_destroy_response(response);
	if (client)
		client->answer_bytes = n;
	x->answered = true;
	x->status = status;
	note(x, status);
	return result;
}

/* --- streams of events --- */

static ssize_t read_events(void *ctx, uint64_t pos, char *buf, size_t max)
{
	struct exchange *x = ctx;
	size_t n = x->events.len < max ? x->events.len : max;

	if (n > 0) {
		memcpy(buf, x->events.data, n);
		sonde_buf_consume(&x->events, n);
		return (ssize_t)n;
	}
	if (x->over)
		return MHD_CONTENT_READER_END_OF_STREAM;
	x->suspended = true;
	MHD_suspend_connection(x->request.connection);
	return 0;
}

/* Asks for what is new, unless the client has not taken what was before: then it gets the newest once it has. */
static void fill_events(struct sonde_httpd *h, struct exchange *x)
{
	int r;

	if (x->over || x->events.len > 0)
		return;
	r = h->draining ? 1 : h->config.events(h->config.ctx, &x->request, &x->events);
	x->over = r != 0;
	x->quiet_s = x->events.len > 0 ? 0 : x->quiet_s + 1;
	if (x->quiet_s < STREAM_QUIET_S)
		return;
	x->quiet_s = 0;
	if (sonde_buf_append(&x->events, ":\n\n", 3) < 0)
		x->over = true;
}

static void resume(struct exchange *x)
{
	x->suspended = false;
	MHD_resume_connection(x->request.connection);
	/* The library looks at it in its next run, which nothing else would start. */
	if (sd_event_source_set_time_relative(x->server->timer, 0) < 0 ||
	    sd_event_source_set_enabled(x->server->timer, SD_EVENT_ONESHOT) < 0)
		(void)sonde_log_warn(0, "cannot arm the HTTP server's timer, ignoring");
}

void sonde_httpd_tick(struct sonde_httpd *h)
{
	h->stats.slow_ended += sonde_http_clients_expire(&h->clients, sonde_mono_ns());
	for (size_t i = 0; i < ELEMENTS_OF(h->stream); i++) {
		struct exchange *x = h->stream[i];

		if (!x)
			continue;
		fill_events(h, x);
		if (x->suspended && (x->over || x->events.len > 0))
			resume(x);
	}
}

bool sonde_httpd_has_stream(struct sonde_httpd *h, const struct sonde_http_request *req)
{
	const struct sonde_http_client *client = client_of(req->connection);
	struct sonde_http_share own = {0};

	if (client)
		sonde_http_clients_sum(&h->clients, (const struct sockaddr *)&client->address,
				       &own);
	for (size_t i = 0; own.streams < SONDE_HTTP_STREAMS_OF_ONE && i < ELEMENTS_OF(h->stream);
	     i++) {
		if (!h->stream[i])
			return true;
	}
	h->stats.streams_refused++;
	return false;
}

static void forget_stream(struct sonde_httpd *h, const struct exchange *x)
{
	for (size_t i = 0; i < ELEMENTS_OF(h->stream); i++) {
		if (h->stream[i] == x)
			h->stream[i] = NULL;
	}
}

static enum MHD_Result respond_stream(struct exchange *x, struct MHD_Connection *c)
{
	struct sonde_http_client *client = client_of(c);
	struct sonde_httpd *h = x->server;
	struct MHD_Response *response;
	enum MHD_Result result = MHD_NO;
	size_t i = 0;

	while (i < ELEMENTS_OF(h->stream) && h->stream[i])
		i++;
	if (i == ELEMENTS_OF(h->stream))
		return MHD_NO; /* the route asked, so there is one */
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES,
						     read_events, x, NULL);
	if (!response)
		return MHD_NO;
	x->events = SONDE_BUF_INIT(STREAM_BYTES_MAX);
	x->answered = true;
	x->status = x->request.status;
	x->request.text_type = "text/event-stream";
	h->stream[i] = x;
	if (client)
		client->streams = true;
	sonde_http_client_enter(client, SONDE_HTTP_OPEN, sonde_mono_ns());
	fill_events(h, x);
	if (add_headers(response, x, x->status, false, ""))
		result = MHD_queue_response(c, (unsigned)x->status, response);
	MHD_destroy_response(response);
	return result;
}

static struct exchange *exchange_new(struct sonde_httpd *h, const char *url, const char *method)
{
	struct exchange *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->server = h;
	x->began_ns = sonde_mono_ns();
	x->body = SONDE_BUF_INIT(h->config.max_body_bytes);
	(void)snprintf(x->path, sizeof(x->path), "%s", url);
	/* HEAD is GET whose body the library leaves out. */
	(void)snprintf(x->method, sizeof(x->method), "%s",
		       strcmp(method, "HEAD") == 0 ? "GET" : method);
	(void)snprintf(x->sent_method, sizeof(x->sent_method), "%s", method);
	x->request.method = x->method;
	x->request.path = x->path;
	return x;
}

/*
 * Is its body of the one type that is no JSON? There is room for few of them, and each may be slow: it is taken for those
 * alone who may do something with it.
 */
static void look_at_type(struct exchange *x, struct MHD_Connection *c)
{
	const struct sonde_httpd_config *config = &x->server->config;
	const char *type = header(c, "Content-Type");
	struct sonde_problem refused = {0};

	if (!config->raw_path || !type || strcmp(x->method, "POST") != 0 ||
	    strcmp(x->path, config->raw_path) != 0 || strcasecmp(type, config->raw_type) != 0)
		return;
	x->raw = true;
	if (x->server->raw_bodies >= RAW_BODIES_MAX || check_client(x->server, c, &refused) < 0)
		return;
	identify(x, c);
	if (x->request.identity.role != SONDE_ROLE_OPERATE)
		return;
	x->has_slot = true;
	x->server->raw_bodies++;
	x->body = SONDE_BUF_INIT(config->max_raw_bytes);
}

static void take_body(struct exchange *x, const char *data, size_t n)
{
	x->body_bytes += n;
	if (x->raw && !x->has_slot) {
		x->too_large = x->body_bytes > body_max(x);
	} else if (!x->too_large && sonde_buf_append(&x->body, data, n) < 0) {
		x->too_large = true;
		sonde_buf_done(&x->body);
	}
}

/*
 * A body that need not come at all: the client asks before it sends it, or it would take for ever. Others are taken
 * and then refused: who is still sending when the connection is closed does not read why.
 */
static bool is_not_to_come(const struct exchange *x, struct MHD_Connection *c)
{
	const char *text = header(c, "Content-Length");
	uint64_t n;

	if (!text)
		return false;
	if (sonde_parse_u64(text, 0, UINT64_MAX, &n) < 0 || n > BODY_TAKEN_BYTES_MAX)
		return true;
	return n > body_max(x) && header(c, "Expect");
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *n, void **state)
{
	struct sonde_httpd *h = ctx;
	struct exchange *x = *state;

	if (!x) {
		x = exchange_new(h, url, method);
		if (!x)
			return MHD_NO;
		x->request.connection = c;
		set_address(x, c);
		*state = x;
		look_at_type(x, c);
		sonde_http_client_enter(client_of(c), SONDE_HTTP_BODY, x->began_ns);
		if (!is_not_to_come(x, c))
			return MHD_YES;
		x->too_large = true;
		(void)check(x, c);
		sonde_http_client_enter(client_of(c), SONDE_HTTP_ANSWER, x->began_ns);
		return respond(x, c);
	}
	if (*n > 0) {
		take_body(x, data, *n);
		*n = 0;
		return MHD_YES;
	}
	if (x->answered)
		return MHD_YES;
	if (!x->ready) {
		x->ready = true;
		sonde_http_client_enter(client_of(c), SONDE_HTTP_ANSWER, sonde_mono_ns());
		if (check(x, c) == 0 && parse_body(x) == 0)
			h->config.handle(h->config.ctx, &x->request);
		if (x->request.waits) {
			sonde_http_client_enter(client_of(c), SONDE_HTTP_OPEN, sonde_mono_ns());
			x->suspended = true;
			MHD_suspend_connection(c);
			return MHD_YES;
		}
	}
	if (x->request.streams && x->request.problem.status == 0)
		return respond_stream(x, c);
	return respond(x, c);
}

void sonde_http_resume(struct sonde_http_request *req)
{
	struct exchange *x = (struct exchange *)req;

	req->waits = false;
	if (!x->suspended)
		return; /* answered before the handler returned */
	sonde_http_client_enter(client_of(req->connection), SONDE_HTTP_ANSWER, sonde_mono_ns());
	resume(x);
}

static void on_completed(void *ctx, struct MHD_Connection *c, void **state,
			 enum MHD_RequestTerminationCode code)
{
	struct sonde_http_client *client = client_of(c);
	struct sonde_httpd *h = ctx;
	struct exchange *x = *state;

	if (!x)
		return;
	if (x->request.waits)
		h->config.abandon(h->config.ctx, &x->request);
	if (x->ready)
		note(x, x->status);
	sonde_http_stats_note(&h->stats, x->request.route, x->sent_method, x->status,
			      sonde_mono_ns() - x->began_ns);
	sonde_http_client_enter(client, SONDE_HTTP_HEADERS, sonde_mono_ns());
	if (client) {
		client->answer_bytes = 0;
		client->streams = false;
	}
	h->raw_bodies -= x->has_slot ? 1 : 0;
	forget_stream(h, x);
	sonde_buf_done(&x->events);
	json_decref(x->request.body);
	json_decref(x->request.answer);
	free(x->request.text);
	sonde_buf_done(&x->body);
	free(x);
	*state = NULL;
}

_printf_(2, 0) static void on_library_log(void *ctx, const char *fmt, va_list ap)
{
	struct sonde_httpd *h = ctx;
	char line[256];

	(void)vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	/* The one word there is of a request that the library refuses by itself. */
	if (strncmp(line, REFUSED_LINE, sizeof(REFUSED_LINE) - 1) == 0)
		h->stats.malformed++;
	sonde_log_debug("http: %s", line);
}

/* What the library calls for a certificate knows of us by the connection alone. */
static void on_connection(void *ctx, struct MHD_Connection *c, void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct sonde_httpd *h = ctx;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *fd =
			MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
		const union MHD_ConnectionInfo *peer =
			MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

		*socket_context =
			fd ? sonde_http_client_new(&h->clients, h, fd->connect_fd,
						   peer ? peer->client_addr : NULL, sonde_mono_ns())
			   : NULL;
		h->stats.connections++;
		h->stats.connections_open++;
	} else {
		sonde_http_client_free(&h->clients, *socket_context);
		*socket_context = NULL;
		h->stats.connections_open--;
	}
}

static int on_certificate(gnutls_session_t session, const gnutls_datum_t *issuers, int n_issuers,
			  const gnutls_pk_algorithm_t *algorithms, int n_algorithms,
			  gnutls_pcert_st **chain, unsigned *n, gnutls_privkey_t *key)
{
	struct MHD_Connection *c = gnutls_session_get_ptr(session);
	const struct sonde_http_client *client = c ? client_of(c) : NULL;
	const struct sonde_httpd *h = client ? client->ctx : NULL;

	if (!h)
		return -1;
	sonde_https_certificate(h->config.https, chain, n, key);
	return 0;
}

static enum MHD_Result on_accept(void *ctx, const struct sockaddr *address, socklen_t n)
{
	struct sonde_httpd *h = ctx;
	struct sonde_http_share own;
	uint64_t now_ns = sonde_mono_ns();

	/* So that one who takes all it can leaves room for others. */
	sonde_http_clients_sum(&h->clients, address, &own);
	if (h->config.max_connections >= SHARED_FROM &&
	    own.connections >= h->config.max_connections / 2) {
		h->stats.connections_refused++;
		return MHD_NO;
	}
	if (!h->config.https)
		return MHD_YES;
	if (sonde_pace_wait_ns(&h->handshakes, now_ns) > 0) {
		h->stats.handshakes_refused++;
		return MHD_NO;
	}
	sonde_pace_take(&h->handshakes, now_ns);
	return MHD_YES;
}

static int start_daemon(struct sonde_httpd *h, int listen_fd)
{
	const char *trust = h->config.https ? sonde_https_trust(h->config.https) : NULL;
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)SONDE_HTTPS_PRIORITIES},
		{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)on_certificate},
		{trust ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, (void *)trust},
		{MHD_OPTION_END, 0, NULL},
	};
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	if (h->config.https)
		flags |= MHD_USE_TLS;
	else
		tls[0] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
	h->daemon = MHD_start_daemon(
		flags, 0, on_accept, h, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_library_log,
		h, MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT,
		h->config.max_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_NOTIFY_CONNECTION,
		on_connection, h, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
	return h->daemon ? 0 : -EIO;
}

int sonde_httpd_new(sd_event *event, const struct sonde_httpd_config *config,
		    struct sonde_httpd **ret)
{
	_cleanup_(sonde_httpd_freep) struct sonde_httpd *h = calloc(1, sizeof(*h));
	_cleanup_close_ int fd = -1;
	const union MHD_DaemonInfo *info;
	int r;

	if (!h)
		return -ENOMEM;
	h->config = *config;
	h->listen_fd = -1;
	h->handshakes = sonde_pace_of(HANDSHAKES_BURST, HANDSHAKES_PER_S);
	/* Our own socket: so that an error has its errno, which the library would keep to itself. */
	r = sonde_listen(config->address, config->port, LISTEN_BACKLOG, &fd, &h->port);
	if (r == 0)
		r = start_daemon(h, fd);
	if (r < 0)
		return r;
	fd = -1; /* the daemon's now */
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return -EIO;
	r = sd_event_add_io(event, &h->io, info->epoll_fd, EPOLLIN, on_io, h);
	if (r >= 0)
		/* An accuracy of 0 would be 250 ms, for each piece of a body that MHD has buffered. */
		r = sd_event_add_time_relative(event, &h->timer, CLOCK_MONOTONIC, 0, 1, on_timer,
					       h);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(h);
	return 0;
}

void sonde_httpd_drain(struct sonde_httpd *h)
{
	h->draining = true;
	sonde_httpd_tick(h);
	if (h->listen_fd < 0)
		h->listen_fd = MHD_quiesce_daemon(h->daemon);
}

struct sonde_httpd *sonde_httpd_free(struct sonde_httpd *h)
{
	if (!h)
		return NULL;
	h->draining = true;
	sonde_httpd_tick(h);
	(void)sd_event_source_disable_unref(h->io);
	(void)sd_event_source_disable_unref(h->timer);
	if (h->daemon) {
		/* Answers that are ready go out; a connection that is still suspended would stop the library. */
		(void)MHD_run(h->daemon);
		(void)MHD_run(h->daemon);
		MHD_stop_daemon(h->daemon);
	}
	if (h->listen_fd >= 0)
		(void)close(h->listen_fd);
	free(h);
	return NULL;
}

uint16_t sonde_httpd_port(const struct sonde_httpd *h)
{
	return h->port;
}

const struct sonde_http_stats *sonde_httpd_stats(const struct sonde_httpd *h)
{
	return &h->stats;
}
