/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/rest.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "base/nesting.h"
#include "ctl/sse.h"

#define STREAM_SILENT_S 45L /* the server sends a comment each 15 s */

struct sonde_rest {
	CURL *curl;
	char *server; /* without a slash at its end */
	char *token;  /* "" = none */
	bool (*interrupted)(void *ctx);
	void *ctx;
	FILE *trace;
	long timeout_ms;
	char error[CURL_ERROR_SIZE + 64];
};

static void set_error(struct sonde_rest *rest, const char *words)
{
	(void)snprintf(rest->error, sizeof(rest->error), "%s", words);
}

struct sonde_rest *sonde_rest_free(struct sonde_rest *rest)
{
	if (!rest)
		return NULL;
	if (rest->curl)
		curl_easy_cleanup(rest->curl);
	free(rest->server);
	free(rest->token);
	free(rest);
	return NULL;
}

void sonde_rest_set_interrupted(struct sonde_rest *rest, bool (*interrupted)(void *ctx), void *ctx)
{
	rest->interrupted = interrupted;
	rest->ctx = ctx;
}

const char *sonde_rest_error(const struct sonde_rest *rest)
{
	return rest->error;
}

const char *sonde_rest_server(const struct sonde_rest *rest)
{
	return rest->server;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
	struct sonde_rest_answer *answer = ctx;

	/* size is 1 by curl's contract; less than n tells it to stop */
	return sonde_buf_append(&answer->body, data, size * n) < 0 ? 0 : size * n;
}

static int on_progress(void *ctx, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total,
		       curl_off_t ul)
{
	struct sonde_rest *rest = ctx;

	return rest->interrupted && rest->interrupted(rest->ctx);
}

/* curl would say of a port that is too large or no number only that it cannot connect. */
static bool good_port(CURLU *u)
{
	char *port = NULL;
	bool good;

	if (curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
		return false;
	good = strcmp(port, "0") != 0;
	curl_free(port);
	return good;
}

static bool has_part(CURLU *u, CURLUPart part)
{
	char *text = NULL;
	bool has = curl_url_get(u, part, &text, 0) == CURLUE_OK;

	curl_free(text);
	return has;
}

static bool is_http(const char *url)
{
	CURLU *u;
	bool good;

	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return false;
	u = curl_url();
	good = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK && good_port(u) &&
	       !has_part(u, CURLUPART_QUERY) && !has_part(u, CURLUPART_FRAGMENT);
	curl_url_cleanup(u);
	return good;
}

static int set_options(struct sonde_rest *rest, uint64_t timeout_ns)
{
	uint64_t ms = timeout_ns / SONDE_NS_PER_MS;
	long timeout_ms = ms > 3600000 ? 3600000 : (long)ms;
	CURL *c = rest->curl;

	rest->timeout_ms = timeout_ms;
	if (curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK ||
	    curl_easy_setopt(c, CURLOPT_USERAGENT, "sonde/" SONDE_VERSION) != CURLE_OK)
		return -ENOMEM;
	(void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	/* the server is a neighbour: http_proxy of the environment is for other things */
	(void)curl_easy_setopt(c, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, timeout_ms);
	(void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms);
	(void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, rest->error);
	(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFODATA, rest);
	return 0;
}

static int set_tls(struct sonde_rest *rest, const struct sonde_rest_options *options)
{
	const struct {
		CURLoption option;
		const char *value;
	} rows[] = {
		{CURLOPT_CAINFO, options->ca},
		{CURLOPT_SSLCERT, options->cert},
		{CURLOPT_SSLKEY, options->key},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		if (rows[i].value && *rows[i].value &&
		    curl_easy_setopt(rest->curl, rows[i].option, rows[i].value) != CURLE_OK)
			return -ENOMEM;
	}
	/* else the system's folder of roots would be trusted beside the file */
	if (options->ca && *options->ca)
		(void)curl_easy_setopt(rest->curl, CURLOPT_CAPATH, NULL);
	(void)curl_easy_setopt(rest->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	return 0;
}

static int set_basic(struct sonde_rest *rest, const char *basic)
{
	if (!basic || !*basic)
		return 0;
	(void)curl_easy_setopt(rest->curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
	return curl_easy_setopt(rest->curl, CURLOPT_USERPWD, basic) == CURLE_OK ? 0 : -ENOMEM;
}

int sonde_rest_new(const struct sonde_rest_options *options, struct sonde_rest **ret)
{
	_cleanup_(sonde_rest_freep) struct sonde_rest *rest = NULL;
	size_t n;
	int r;

	assert(options && options->server && ret);

	if (!is_http(options->server))
		return -EINVAL;
	rest = calloc(1, sizeof(*rest));
	if (!rest)
		return -ENOMEM;
	rest->server = strdup(options->server);
	rest->token = strdup(options->token ? options->token : "");
	rest->curl = curl_easy_init();
	if (!rest->server || !rest->token || !rest->curl)
		return -ENOMEM;
	n = strlen(rest->server);
	while (rest->server[n - 1] == '/')
		rest->server[--n] = '\0';
	rest->interrupted = options->interrupted;
	rest->ctx = options->ctx;
	rest->trace = options->trace;
	r = set_basic(rest, options->basic);
	if (r == 0)
		r = set_options(rest, options->timeout_ns);
	if (r == 0)
		r = set_tls(rest, options);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(rest);
	return 0;
}

void sonde_rest_answer_done(struct sonde_rest_answer *answer)
{
	json_decref(answer->json);
	answer->json = NULL;
	sonde_buf_done(&answer->body);
}

static int parse_answer(struct sonde_rest *rest, struct sonde_rest_answer *answer)
{
	const char *body = sonde_buf_str(&answer->body);
	bool good = answer->status >= 200 && answer->status < 300;
	json_error_t error;

	if (sonde_json_shallow(body, answer->body.len, SONDE_REST_DEPTH_MAX))
		answer->json = json_loadb(body, answer->body.len, JSON_REJECT_DUPLICATES, &error);
	if (answer->json && !json_is_object(answer->json)) {
		json_decref(answer->json);
		answer->json = NULL;
	}
	/* 204: there is nothing to say */
	if (good && !answer->json && answer->status != 204) {
		set_error(rest, "the answer is no JSON object that could be read");
		return -EBADMSG;
	}
	return 0;
}

static bool connected(struct sonde_rest *rest)
{
	curl_off_t us = 0;

	(void)curl_easy_getinfo(rest->curl, CURLINFO_CONNECT_TIME_T, &us);
	return us > 0;
}

/* It answers with text, closes, or resets what it cannot read: which of them is seen first is chance. */
static bool is_no_tls(const char *words)
{
	static const char *const signs[] = {"wrong version", "SSL_ERROR_SYSCALL", "unexpected eof",
					    "reset by peer"};

	for (size_t i = 0; i < ELEMENTS_OF(signs); i++) {
		if (strstr(words, signs[i]))
			return true;
	}
	return false;
}

/* The curl library's words do not say what the person may have mixed up. */
static void add_hint(struct sonde_rest *rest, CURLcode code)
{
	bool https = strncmp(rest->server, "https:", 6) == 0;
	const char *hint = NULL;
	size_t n = strlen(rest->error);

	if (https && code == CURLE_SSL_CONNECT_ERROR && is_no_tls(rest->error))
		hint = " (it may speak plain http)";
	else if (!https && (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR))
		hint = " (it may speak https)";
	else if (https && code == CURLE_PEER_FAILED_VERIFICATION &&
		 (strstr(rest->error, "issuer") || strstr(rest->error, "self-signed")))
		hint = " (see --ca)";
	if (hint)
		(void)snprintf(rest->error + n, sizeof(rest->error) - n, "%s", hint);
}

static int to_errno(struct sonde_rest *rest, CURLcode code)
{
	if (!rest->error[0])
		set_error(rest, curl_easy_strerror(code));
	add_hint(rest, code);
	switch (code) {
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_UNSUPPORTED_PROTOCOL: /* no status line came: the scheme was looked at before */
		set_error(rest, "what answers there does not speak HTTP/1.1; is it the port for "
				"agents (gRPC)?");
		return -EPROTO;
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_URL_MALFORMAT:
		return -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return connected(rest) ? -ETIMEDOUT : -ECONNREFUSED;
	case CURLE_ABORTED_BY_CALLBACK:
		set_error(rest, "interrupted");
		return -EINTR;
	case CURLE_WRITE_ERROR:
		set_error(rest, "the answer is larger than 32 MiB");
		return -EMSGSIZE;
	default:
		return -EPROTO;
	}
}

/* One exchange. */
struct call {
	const char *method, *path;
	const void *body; /* NULL: none */
	size_t n;
	const char *type, *accept; /* NULL: JSON */
	const char *last_event_id; /* NULL: none */
	bool raw;		   /* the answer is no JSON */
};

static int set_request(struct sonde_rest *rest, const struct call *call, const char *url,
		       struct sonde_rest_answer *answer)
{
	const char *method = call->method, *body = call->body;
	CURL *c = rest->curl;

	if (curl_easy_setopt(c, CURLOPT_URL, url) != CURLE_OK)
		return -ENOMEM;
	(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, answer);
	if (body)
		(void)curl_easy_setopt(c, CURLOPT_POST, 1L);
	else
		(void)curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
	if (curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method) != CURLE_OK)
		return -ENOMEM;
	if (!body)
		return 0;
	(void)curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)call->n);
	if (curl_easy_setopt(c, CURLOPT_COPYPOSTFIELDS, body) != CURLE_OK)
		return -ENOMEM;
	return 0;
}

int sonde_rest_request(struct sonde_rest *rest, const char *path, const char *body,
		       struct sonde_rest_answer *ret)
{
	return sonde_rest_send(rest, body ? "POST" : "GET", path, body, ret);
}

static int append(struct curl_slist **list, const char *line)
{
	struct curl_slist *grown = curl_slist_append(*list, line);

	if (!grown)
		return -ENOMEM;
	*list = grown;
	return 0;
}

/*
 * *@ret is to be freed, also on failure. No value has control bytes, so no header can be smuggled in: the option table
 * refuses them in a token, sonde_rest_events() in an id.
 */
static int make_headers(const struct sonde_rest *rest, const struct call *call,
			struct curl_slist **ret)
{
	const struct {
		const char *name, *value;
	} rows[] = {
		{"Accept:",
		 call->accept ? call->accept : "application/json, application/problem+json"},
		{"Content-Type:", call->type ? call->type : "application/json"},
		{"Authorization: Bearer", rest->token},
		{"Last-Event-ID:", call->last_event_id},
	};
	_cleanup_buf_ struct sonde_buf line = SONDE_BUF_INIT(8192);
	int r = append(ret, "Expect:"); /* no 100-continue round trip */

	for (size_t i = 0; i < ELEMENTS_OF(rows) && r == 0; i++) {
		if (!rows[i].value || !*rows[i].value)
			continue;
		sonde_buf_reset(&line);
		r = sonde_buf_printf(&line, "%s %s", rows[i].name, rows[i].value);
		if (r == 0)
			r = append(ret, sonde_buf_str(&line));
	}
	return r;
}

static int perform(struct sonde_rest *rest, const struct call *call, struct sonde_rest_answer *ret)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf url = SONDE_BUF_INIT(8192);
	struct curl_slist *headers = NULL;
	uint64_t start_ns = sonde_mono_ns();
	CURLcode code = CURLE_OK;
	int r;

	assert(rest && call->method && call->path && ret);

	r = sonde_buf_printf(&url, "%s%s", rest->server, call->path);
	if (r == 0)
		r = set_request(rest, call, sonde_buf_str(&url), &answer);
	if (r == 0)
		r = make_headers(rest, call, &headers);
	rest->error[0] = '\0';
	if (r == 0) {
		(void)curl_easy_setopt(rest->curl, CURLOPT_HTTPHEADER, headers);
		code = curl_easy_perform(rest->curl);
		(void)curl_easy_setopt(rest->curl, CURLOPT_HTTPHEADER, NULL);
	}
	curl_slist_free_all(headers);
	if (r < 0)
		return r;
	if (code != CURLE_OK)
		return to_errno(rest, code);
	(void)curl_easy_getinfo(rest->curl, CURLINFO_RESPONSE_CODE, &answer.status);
	if (rest->trace)
		(void)fprintf(rest->trace, "%s %s: %ld, %zu bytes, %llu ms\n", call->method,
			      call->path, answer.status, answer.body.len,
			      (sonde_mono_ns() - start_ns) / SONDE_NS_PER_MS);
	r = call->raw && answer.status < 300 ? 0 : parse_answer(rest, &answer);
	if (r < 0)
		return r;
	sonde_rest_answer_done(ret);
	*ret = answer;
	answer = SONDE_REST_ANSWER_INIT; /* handed over */
	return 0;
}

int sonde_rest_send(struct sonde_rest *rest, const char *method, const char *path, const char *body,
		    struct sonde_rest_answer *ret)
{
	const struct call call = {
		.method = method, .path = path, .body = body, .n = body ? strlen(body) : 0};

	return perform(rest, &call, ret);
}

int sonde_rest_fetch(struct sonde_rest *rest, const char *path, const char *accept,
		     struct sonde_rest_answer *ret)
{
	const struct call call = {.method = "GET", .path = path, .accept = accept, .raw = true};

	return perform(rest, &call, ret);
}

int sonde_rest_upload(struct sonde_rest *rest, const char *path, const char *type, const void *data,
		      size_t n, struct sonde_rest_answer *ret)
{
	const struct call call = {
		.method = "POST", .path = path, .body = data, .n = n, .type = type};

	return perform(rest, &call, ret);
}

struct stream {
	struct sonde_rest *rest;
	struct sonde_sse *sse;
	struct sonde_rest_answer *answer;
	int r; /* of sonde_sse_feed() */
};

/* What is no 200 is an answer like any other. */
static size_t on_stream(char *data, size_t size, size_t n, void *ctx)
{
	struct stream *s = ctx;

	(void)curl_easy_getinfo(s->rest->curl, CURLINFO_RESPONSE_CODE, &s->answer->status);
	if (s->answer->status != 200)
		return on_body(data, size, n, s->answer);
	s->r = sonde_sse_feed(s->sse, data, size * n);
	return s->r == 0 ? size * n : 0;
}

/* A server's id must not make a header of its own. */
static bool is_word(const char *text)
{
	for (const char *p = text; *p; p++) {
		if (!isgraph((unsigned char)*p))
			return false;
	}
	return true;
}

/* The same handle as for requests: what is changed here is changed back. */
static int perform_stream(struct sonde_rest *rest, struct stream *s)
{
	long timeout_ms = rest->timeout_ms;
	CURLcode code;

	(void)curl_easy_setopt(rest->curl, CURLOPT_WRITEFUNCTION, on_stream);
	(void)curl_easy_setopt(rest->curl, CURLOPT_WRITEDATA, s);
	(void)curl_easy_setopt(rest->curl, CURLOPT_TIMEOUT_MS, 0L);
	(void)curl_easy_setopt(rest->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	(void)curl_easy_setopt(rest->curl, CURLOPT_LOW_SPEED_TIME, STREAM_SILENT_S);
	code = curl_easy_perform(rest->curl);
	(void)curl_easy_setopt(rest->curl, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(rest->curl, CURLOPT_TIMEOUT_MS, timeout_ms);
	(void)curl_easy_setopt(rest->curl, CURLOPT_LOW_SPEED_TIME, 0L);
	(void)curl_easy_getinfo(rest->curl, CURLINFO_RESPONSE_CODE, &s->answer->status);
	if (s->r < 0)
		set_error(rest, "an event of the stream could not be read");
	if (s->r != 0)
		return s->r;
	return code == CURLE_OK ? 0 : to_errno(rest, code);
}

int sonde_rest_events(struct sonde_rest *rest, const char *path, struct sonde_sse *sse,
		      struct sonde_rest_answer *ret)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf url = SONDE_BUF_INIT(8192);
	struct stream s = {.rest = rest, .sse = sse, .answer = &answer};
	const struct call call = {.method = "GET",
				  .path = path,
				  .accept = "text/event-stream, application/problem+json",
				  .last_event_id = is_word(sse->id) ? sse->id : NULL};
	struct curl_slist *headers = NULL;
	int r;

	assert(rest && path && sse && ret);

	sonde_sse_reset(sse);
	r = sonde_buf_printf(&url, "%s%s", rest->server, path);
	if (r == 0)
		r = set_request(rest, &call, sonde_buf_str(&url), &answer);
	if (r == 0)
		r = make_headers(rest, &call, &headers);
	if (r == 0 && curl_easy_setopt(rest->curl, CURLOPT_HTTPHEADER, headers) != CURLE_OK)
		r = -ENOMEM;
	rest->error[0] = '\0';
	if (r == 0)
		r = perform_stream(rest, &s);
	(void)curl_easy_setopt(rest->curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	if (rest->trace)
		(void)fprintf(rest->trace, "GET %s: %ld, a stream\n", path, answer.status);
	if (r == 0 && answer.status != 200)
		r = parse_answer(rest, &answer);
	if (r != 0)
		return r;
	sonde_rest_answer_done(ret);
	*ret = answer;
	answer = SONDE_REST_ANSWER_INIT; /* handed over */
	return 0;
}

int sonde_rest_escape(const char *text, struct sonde_buf *out)
{
	int r = 0;

	for (const char *p = text; r == 0 && *p; p++) {
		if (isalnum((unsigned char)*p) || strchr("-._~", *p))
			r = sonde_buf_append(out, p, 1);
		else
			r = sonde_buf_printf(out, "%%%02X", (unsigned char)*p);
	}
	return r;
}
