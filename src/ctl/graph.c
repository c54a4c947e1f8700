/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/graph.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "ctl/members.h"
#include "ctl/term.h"
#include "ctl/units.h"
#include "ctl/view-sides.h"
#include "ctl/view.h"

struct node {
	const char *id; /* borrowed from the topology */
	const json_t *json;
	char label[SONDE_GRAPH_LABEL_MAX];
};

struct sonde_graph {
	const json_t *topology;
	json_t *index; /* id -> integer index in nodes */
	struct node *nodes;
	size_t n;
};

struct sonde_graph *sonde_graph_free(struct sonde_graph *graph)
{
	if (!graph)
		return NULL;
	json_decref(graph->index);
	free(graph->nodes);
	free(graph);
	return NULL;
}

static void name_node(struct node *node)
{
	const char *kind = sonde_text_of(node->json, "kind"),
		   *service = sonde_text_of(node->json, "service");
	const char *process = sonde_text_of(node->json, "process"),
		   *address = sonde_text_of(node->json, "address");
	const char *workload = sonde_text_of(node->json, "workload");
	char *label = node->label;
	size_t size = sizeof(node->label);

	if (strcmp(kind, "other") == 0)
		(void)snprintf(label, size, "other");
	else if (*workload)
		(void)snprintf(label, size, "%.200s/%.200s", service, workload);
	else if (strcmp(kind, "instance") == 0)
		(void)snprintf(label, size, "%.200s@%.200s", service,
			       sonde_text_of(node->json, "instance"));
	else if (*service && *process && strcmp(service, process) != 0)
		(void)snprintf(label, size, "%.200s/%.200s", service, process);
	else if (*process || *service)
		(void)snprintf(label, size, "%.200s", *process ? process : service);
	else
		(void)snprintf(label, size, "%.200s", *address ? address : node->id);
}

/* Adds the instance to each of several nodes with one label; a number where that does not help. */
static int tell_apart(struct sonde_graph *graph)
{
	for (unsigned int round = 0; round < 2; round++) {
		json_t *seen = json_object();

		if (!seen)
			return -ENOMEM;
		for (size_t i = 0; i < graph->n; i++) {
			const json_t *n = json_object_get(seen, graph->nodes[i].label);

			/* labels are cut by bytes: one that is no UTF-8 any more is left as it is */
			(void)json_object_set_new(seen, graph->nodes[i].label,
						  json_integer(json_integer_value(n) + 1));
		}
		for (size_t i = 0; i < graph->n; i++) {
			struct node *node = &graph->nodes[i];
			const char *instance = sonde_text_of(node->json, "instance");
			size_t len = strlen(node->label);

			if (json_integer_value(json_object_get(seen, node->label)) < 2)
				continue;
			if (round == 0 && *instance)
				(void)snprintf(node->label + len, sizeof(node->label) - len,
					       "@%.100s", instance);
			else if (round == 1)
				(void)snprintf(node->label + len, sizeof(node->label) - len, "#%zu",
					       i + 1);
		}
		json_decref(seen);
	}
	return 0;
}

int sonde_graph_new(const json_t *topology, struct sonde_graph **ret)
{
	_cleanup_(sonde_graph_freep) struct sonde_graph *graph = NULL;
	const json_t *nodes = json_object_get(topology, "nodes");
	size_t n = json_array_size(nodes);

	assert(ret);

	graph = calloc(1, sizeof(*graph));
	if (!graph)
		return -ENOMEM;
	graph->topology = topology;
	graph->index = json_object();
	graph->nodes = calloc(n > 0 ? n : 1, sizeof(*graph->nodes));
	if (!graph->index || !graph->nodes)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct node *node = &graph->nodes[graph->n];

		node->json = json_array_get(nodes, i);
		node->id = json_string_value(json_object_get(node->json, "id"));
		if (!node->id || json_object_get(graph->index, node->id))
			continue;
		name_node(node);
		if (json_object_set_new(graph->index, node->id,
					json_integer((json_int_t)graph->n)) < 0)
			return -ENOMEM;
		graph->n++;
	}
	if (tell_apart(graph) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(graph);
	return 0;
}

static const struct node *find(const struct sonde_graph *graph, const json_t *edge, const char *end)
{
	const json_t *i = json_object_get(graph->index, sonde_text_of(edge, end));

	return i ? &graph->nodes[json_integer_value(i)] : NULL;
}

const char *sonde_graph_label(const struct sonde_graph *graph, const json_t *edge, const char *end)
{
	const struct node *node = find(graph, edge, end);

	return node ? node->label : sonde_text_of(edge, end);
}

/* Within double quotes of both languages: nothing but letters that cannot end them. */
static int print_quoted(const char *s, FILE *out)
{
	_cleanup_buf_ struct sonde_buf safe = SONDE_BUF_INIT(SONDE_GRAPH_LABEL_MAX * 8UL);
	int r;

	r = sonde_term_escape(s, strlen(s), &safe);
	if (r < 0)
		return r;
	(void)fputc('"', out);
	for (const char *p = sonde_buf_str(&safe); *p; p++) {
		if (*p == '"' || *p == '\\' || *p == '<' || *p == '>' || *p == '#')
			(void)fputc('_', out);
		else
			(void)fputc(*p, out);
	}
	(void)fputc('"', out);
	return 0;
}

/* The words that stand behind each other, with a comma from the second on. */
struct words {
	char *text;
	size_t size, n;
};

static void _printf_(2, 3) add_words(struct words *w, const char *fmt, ...)
{
	size_t at = strlen(w->text);
	va_list args;

	at += (size_t)snprintf(w->text + at, w->size - at, "%s", w->n++ > 0 ? ", " : " ");
	if (at >= w->size)
		return;
	va_start(args, fmt);
	(void)vsnprintf(w->text + at, w->size - at, fmt, args);
	va_end(args);
}

static void add_bytes(struct words *w, const json_t *side)
{
	const json_t *sent = json_object_get(side, "sent_bytes");
	const json_t *received = json_object_get(side, "received_bytes");
	char bytes[SONDE_UNIT_MAX];

	if (json_is_number(sent) || json_is_number(received))
		add_words(w, "%s",
			  sonde_unit_bytes(json_number_value(sent) + json_number_value(received),
					   bytes));
}

static void add_retransmitted(struct words *w, const json_t *edge)
{
	const json_t *client =
		json_object_get(json_object_get(edge, "client_side"), "retransmitted_segments");
	const json_t *server =
		json_object_get(json_object_get(edge, "server_side"), "retransmitted_segments");

	if (json_is_integer(client) || json_is_integer(server))
		add_words(w, "%" PRIi64 " retransmitted",
			  sonde_view_add(json_integer_value(client), json_integer_value(server)));
}

/* A number that was not had has no words: it is absent, not 0. */
static void edge_words(const json_t *edge, char *text, size_t size)
{
	const json_t *client = json_object_get(edge, "client_side");
	const json_t *side = json_is_object(client) ? client : json_object_get(edge, "server_side");
	const json_t *p99 = json_object_get(json_object_get(side, "rtt_us"), "p99");
	bool udp = sonde_view_edge_is_udp(edge);
	struct words w = {.text = text, .size = size};
	char rtt[SONDE_UNIT_MAX];

	(void)snprintf(text, size, ":%" JSON_INTEGER_FORMAT "%s",
		       json_integer_value(json_object_get(edge, "port")), udp ? "/udp" : "");
	if (!udp && json_is_number(p99))
		add_words(&w, "p99 %s", sonde_unit_us(json_number_value(p99), rtt));
	add_bytes(&w, side);
	if (!udp)
		add_retransmitted(&w, edge);
}

static json_int_t count_failed(const json_t *side)
{
	json_t *value, *object = json_object_get(side, "connect_failures");
	json_int_t sum = 0;
	const char *name;

	json_object_foreach(object, name, value) sum =
		sonde_view_add(sum, json_integer_value(value));
	return sum;
}

/* ", 3 connects failed, 7 dropped": what went wrong is not hidden by a picture. */
static void add_failures(const json_t *edge, char *words, size_t size)
{
	const json_t *client = json_object_get(edge, "client_side");
	const json_t *server = json_object_get(edge, "server_side");
	json_int_t failed = sonde_view_add(count_failed(client), count_failed(server));
	json_int_t lost = sonde_view_add(sonde_view_own_loss(client), sonde_view_own_loss(server));
	size_t at = strlen(words);

	if (failed > 0)
		(void)snprintf(words + at, size - at, ", %" JSON_INTEGER_FORMAT " connect%s failed",
			       failed, failed == 1 ? "" : "s");
	at = strlen(words);
	if (lost > 0)
		(void)snprintf(words + at, size - at, ", %" JSON_INTEGER_FORMAT " dropped", lost);
}

typedef int (*print_edge)(size_t client, size_t server, const char *words, FILE *out);

/* Calls @print for each edge whose ends are both known. */
static int each_edge(const struct sonde_graph *graph, print_edge print, FILE *out)
{
	const json_t *edges = json_object_get(graph->topology, "edges");
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(edges); i++) {
		const json_t *edge = json_array_get(edges, i);
		const struct node *client = find(graph, edge, "client");
		const struct node *server = find(graph, edge, "server");
		char words[256];

		if (!client || !server)
			continue;
		edge_words(edge, words, sizeof(words));
		add_failures(edge, words, sizeof(words));
		r = print((size_t)(client - graph->nodes), (size_t)(server - graph->nodes), words,
			  out);
	}
	return r;
}

static int dot_edge(size_t client, size_t server, const char *words, FILE *out)
{
	int r;

	(void)fprintf(out, "  n%zu -> n%zu [label=", client, server);
	r = print_quoted(words, out);
	(void)fprintf(out, "];\n");
	return r;
}

bool sonde_graph_more(const json_t *topology, char ret[static SONDE_GRAPH_LABEL_MAX])
{
	const json_t *more = json_object_get(topology, "more");
	const json_t *share = json_object_get(more, "share");
	json_int_t n = json_integer_value(json_object_get(more, "edges"));
	char part[96] = "";

	if (n <= 0)
		return false;
	if (json_is_number(share))
		(void)snprintf(part, sizeof(part), " (%.1f %% of %.64s)",
			       100 * json_number_value(share),
			       sonde_text_of(json_object_get(topology, "ranking"), "metric"));
	(void)snprintf(ret, SONDE_GRAPH_LABEL_MAX, "+ %" JSON_INTEGER_FORMAT " more edge%s%s", n,
		       n == 1 ? "" : "s", part);
	return true;
}

int sonde_graph_dot(const struct sonde_graph *graph, FILE *out)
{
	char more[SONDE_GRAPH_LABEL_MAX];
	int r = 0;

	(void)fprintf(out, "digraph sonde {\n  rankdir=LR;\n  node [shape=box];\n");
	for (size_t i = 0; r == 0 && i < graph->n; i++) {
		bool target = json_is_true(json_object_get(graph->nodes[i].json, "target"));

		(void)fprintf(out, "  n%zu [%slabel=", i, target ? "penwidth=2, " : "");
		r = print_quoted(graph->nodes[i].label, out);
		(void)fprintf(out, "];\n");
	}
	if (r == 0)
		r = each_edge(graph, dot_edge, out);
	if (r == 0 && sonde_graph_more(graph->topology, more)) {
		(void)fprintf(out, "  more [shape=plaintext, label=");
		r = print_quoted(more, out);
		(void)fprintf(out, "];\n");
	}
	(void)fprintf(out, "}\n");
	return r < 0 ? r : ferror(out) ? -EIO : 0;
}

static int mermaid_edge(size_t client, size_t server, const char *words, FILE *out)
{
	int r;

	(void)fprintf(out, "  n%zu -->|", client);
	r = print_quoted(words, out);
	(void)fprintf(out, "| n%zu\n", server);
	return r;
}

int sonde_graph_mermaid(const struct sonde_graph *graph, FILE *out)
{
	char more[SONDE_GRAPH_LABEL_MAX];
	int r = 0;

	(void)fprintf(out, "flowchart LR\n");
	for (size_t i = 0; r == 0 && i < graph->n; i++) {
		(void)fprintf(out, "  n%zu[", i);
		r = print_quoted(graph->nodes[i].label, out);
		(void)fprintf(out, "]\n");
	}
	if (r == 0)
		r = each_edge(graph, mermaid_edge, out);
	if (r == 0 && sonde_graph_more(graph->topology, more)) {
		(void)fprintf(out, "  more[");
		r = print_quoted(more, out);
		(void)fprintf(out, "]\n");
	}
	return r < 0 ? r : ferror(out) ? -EIO : 0;
}
