/* SPDX-License-Identifier: Apache-2.0 */
/* Edges as a picture: names, dot, mermaid. */
#include "sonde-test.h"

#include <string.h>

#include "ctl/graph.h"

static void nodes_of_one_name_are_told_apart(void **state)
{
	_cleanup_(sonde_graph_freep) struct sonde_graph *graph = NULL;
	json_t *json = json_loads(
		"{\"nodes\":[{\"id\":\"1\",\"service\":\"s\",\"process\":\"p\",\"instance\":\"a\"},"
		"{\"id\":\"2\",\"service\":\"s\",\"process\":\"p\",\"instance\":\"b\"},"
		"{\"id\":\"3\",\"service\":\"s\",\"process\":\"p\",\"instance\":\"b\"},"
		"{\"id\":\"4\",\"kind\":\"other\"},{\"id\":\"5\",\"service\":\"x\",\"process\":\"x\"}]}",
		0, NULL);
	static const char *const labels[] = {"s/p@a", "s/p@b#2", "s/p@b#3", "other", "x", "6"};

	assert_ok(sonde_graph_new(json, &graph));
	for (size_t i = 0; i < ELEMENTS_OF(labels); i++) {
		char id[2] = {(char)('1' + i)};
		json_t *edge = json_pack("{s:s}", "client", id);

		assert_string_equal(sonde_graph_label(graph, edge, "client"), labels[i]);
		json_decref(edge);
	}
	json_decref(json);
}

static void graphs_cannot_be_broken_out_of(void **state)
{
	_cleanup_(sonde_graph_freep) struct sonde_graph *graph = NULL;
	json_t *json = json_loads("{\"nodes\":[{\"id\":\"1\",\"process\":\"a\\\"];<script>\\n\"}]}",
				  0, NULL);
	_cleanup_free_ char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	assert_ok(sonde_graph_new(json, &graph));
	assert_ok(sonde_graph_dot(graph, out));
	assert_ok(fclose(out));
	assert_string_equal(text, "digraph sonde {\n  rankdir=LR;\n  node [shape=box];\n"
				  "  n0 [label=\"a_];_script__n\"];\n}\n");
	json_decref(json);
}

static char *graph_of(const char *text)
{
	_cleanup_(sonde_graph_freep) struct sonde_graph *graph = NULL;
	json_t *json = json_loads(text, 0, NULL);
	char *ret = NULL;
	size_t n;
	FILE *out = open_memstream(&ret, &n);

	assert_ok(sonde_graph_new(json, &graph));
	assert_ok(sonde_graph_mermaid(graph, out));
	assert_ok(fclose(out));
	json_decref(json);
	return ret;
}

static void graphs_leave_out_what_is_absent(void **state)
{
#define GRAPH(edge)                                                                                \
	graph_of("{\"nodes\":[{\"id\":\"1\"},{\"id\":\"2\"}],\"edges\":[{\"client\":\"1\","        \
		 "\"server\":\"2\",\"port\":80," edge "}]}")
	_cleanup_free_ char *all = GRAPH(
		"\"client_side\":{\"sent_bytes\":3,\"received_bytes\":4,\"rtt_us\":{\"p99\":5},"
		"\"retransmitted_segments\":0},\"server_side\":{\"retransmitted_segments\":2}");
	_cleanup_free_ char *rtt = GRAPH(
		"\"client_side\":{\"sent_bytes\":null,\"received_bytes\":null,\"rtt_us\":{\"p99\":5},"
		"\"retransmitted_segments\":null}");
	_cleanup_free_ char *none = GRAPH("\"client_side\":null");
	_cleanup_free_ char *udp = GRAPH(
		"\"protocol\":\"udp\",\"client_side\":{\"sent_bytes\":null,\"received_bytes\":7}");

	assert_non_null(strstr(all, "|\":80 p99 5us, 7 B, 2 retransmitted\"|"));
	assert_non_null(strstr(rtt, "|\":80 p99 5us\"|"));
	assert_non_null(strstr(none, "|\":80\"|"));
	assert_non_null(strstr(udp, "|\":80/udp 7 B\"|"));
#undef GRAPH
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_of_one_name_are_told_apart),
		cmocka_unit_test(graphs_cannot_be_broken_out_of),
		cmocka_unit_test(graphs_leave_out_what_is_absent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
