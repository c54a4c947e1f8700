/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/graph.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

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

static const char *text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static void name_node(struct node *node)
{
	const char *kind = text(node->json, "kind"), *service = text(node->json, "service");
	const char *process = text(node->json, "process"), *address = text(node->json, "address");
	char *label = node->label;
	size_t size = sizeof(node->label);

	if (strcmp(kind, "other") == 0)
		(void)snprintf(label, size, "other");
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
			const char *instance = text(node->json, "instance");
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
	const json_t *i = json_object_get(graph->index, text(edge, end));

	return i ? &graph->nodes[json_integer_value(i)] : NULL;
}

const char *sonde_graph_label(const struct sonde_graph *graph, const json_t *edge, const char *end)
{
	const struct node *node = find(graph, edge, end);

	return node ? node->label : text(edge, end);
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

static void edge_words(const json_t *edge, char *words, size_t size)
{
	const json_t *client = json_object_get(edge, "client_side");
	const json_t *server = json_object_get(edge, "server_side");
	const json_t *side = json_is_object(client) ? client : server, *p99;
	json_int_t retransmitted = sonde_view_add(
		json_integer_value(json_object_get(client, "retransmitted_segments")),
		json_integer_value(json_object_get(server, "retransmitted_segments")));
	char rtt[SONDE_UNIT_MAX] = "-", bytes[SONDE_UNIT_MAX];
	double sum;

	p99 = json_object_get(json_object_get(side, "rtt_us"), "p99");
	if (json_is_number(p99))
		(void)sonde_unit_us(json_number_value(p99), rtt);
	sum = json_number_value(json_object_get(side, "sent_bytes")) +
	      json_number_value(json_object_get(side, "received_bytes"));
	if (sonde_view_edge_is_udp(edge)) {
		(void)snprintf(words, size, ":%" JSON_INTEGER_FORMAT "/udp %s",
			       json_integer_value(json_object_get(edge, "port")),
			       sonde_unit_bytes(sum, bytes));
		return;
	}
	(void)snprintf(words, size,
		       ":%" JSON_INTEGER_FORMAT " p99 %s, %s, %" JSON_INTEGER_FORMAT
		       " retransmitted",
		       json_integer_value(json_object_get(edge, "port")), rtt,
		       sonde_unit_bytes(sum, bytes), retransmitted);
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

static json_int_t count_lost(const json_t *side)
{
	const json_t *drops = json_object_get(side, "drops");
	json_int_t sum = 0;

	for (size_t i = 0; i < json_array_size(drops); i++) {
		const json_t *d = json_array_get(drops, i);

		if (sonde_view_drop_is_loss(d))
			sum = sonde_view_add(sum,
					     json_integer_value(json_object_get(d, "segments")));
	}
	return sum;
}

/* ", 3 connects failed, 7 dropped": what went wrong is not hidden by a picture. */
static void add_failures(const json_t *edge, char *words, size_t size)
{
	const json_t *client = json_object_get(edge, "client_side");
	const json_t *server = json_object_get(edge, "server_side");
	json_int_t failed = sonde_view_add(count_failed(client), count_failed(server));
	json_int_t lost = sonde_view_add(count_lost(client), count_lost(server));
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

int sonde_graph_dot(const struct sonde_graph *graph, FILE *out)
{
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
	int r = 0;

	(void)fprintf(out, "flowchart LR\n");
	for (size_t i = 0; r == 0 && i < graph->n; i++) {
		(void)fprintf(out, "  n%zu[", i);
		r = print_quoted(graph->nodes[i].label, out);
		(void)fprintf(out, "]\n");
	}
	if (r == 0)
		r = each_edge(graph, mermaid_edge, out);
	return r < 0 ? r : ferror(out) ? -EIO : 0;
}
