/* SPDX-License-Identifier: Apache-2.0 */
/* Edges of the server's JSON as text. */
#include "view-fixture.h"

#include <string.h>

static void edges_have_a_row_for_each_side_that_was_a_target(void **state)
{
	json_t *json = fixture("topology");
	_cleanup_free_ char *text = shown(sonde_view_edges, json, SONDE_CLI_TABLE);

	assert_string_equal(
		text,
		"CLIENT      SERVER    PORT  SIDE    RTT MIN    P50     P99  RETRANSMITS          "
		"DROPS                     SENT  RECEIVED  CONNECTS                       ACCEPTS  "
		"CLOSES\n"
		"shop/nginx  cart      8080  client     90us  310us  9.80ms  12 (fast 10, tlp 2)  "
		"0                     12.3 MiB   4.1 MiB  12, failed 2 (ECONNREFUSED 2)        0  "
		"12 (local fin 11, remote rst 1)\n"
		"shop/nginx  cart      8080  server     80us  290us  2.10ms  0                    "
		"7 (NETFILTER_DROP 7)   4.1 MiB  12.3 MiB  0                                   12  "
		"11 (remote fin 11)\n"
		"cart        10.4.7.9  5432  client        -      -       -  -                    "
		"-                        512 B     100 B  1                                    0  "
		"0\n");
	json_decref(json);
}

/* What sonde_view_dashes() notes of @json; on stdout is nothing. */
static char *noted_dashes(const json_t *json, int output)
{
	struct sonde_cli_settings settings = {.output = output};
	struct sonde_cli cli = {.settings = &settings};
	char *text = NULL;
	size_t n;

	cli.err = open_memstream(&text, &n);
	assert_non_null(cli.err);
	assert_int_equal(sonde_view_dashes(&cli, json), 0);
	assert_ok(fclose(cli.err));
	return text;
}

static void a_dash_has_its_reasons(void **state)
{
	json_t *json = fixture("topology");
	_cleanup_free_ char *text = noted_dashes(json, SONDE_CLI_TABLE);

	assert_string_equal(text, "not requested (on 1 of 3 ends): exe_time\n"
				  "hook refused (on 1 of 3 ends): rtt\n");
	json_decref(json);
}

static void a_long_list_of_dashes_is_for_wide(void **state)
{
	json_t *json = json_loads("{\"edges\":[{\"client_side\":{\"absent\":{\"a\":\"no hook\","
				  "\"b\":\"no hook\",\"c\":\"no hook\",\"d\":\"no hook\","
				  "\"e\":\"no hook\",\"f\":\"no hook\"}}}]}",
				  0, NULL);
	_cleanup_free_ char *table = noted_dashes(json, SONDE_CLI_TABLE);
	_cleanup_free_ char *wide = noted_dashes(json, SONDE_CLI_WIDE);

	assert_string_equal(table, "no hook: a, b, c, d, and 2 more (-o wide names them)\n");
	assert_string_equal(wide, "no hook: a, b, c, d, e, f\n");
	json_decref(json);
}

static void a_drop_that_is_no_loss_says_so(void **state)
{
	json_t *json = json_loads(
		"{\"edges\":[{\"client_side\":{\"drops\":[{\"reason\":\"QUEUE_PURGE\","
		"\"class\":\"teardown\",\"segments\":2,\"direction\":\"transmit\"},"
		"{\"reason\":\"TCP_RESET\",\"class\":\"teardown\",\"segments\":3},"
		"{\"reason\":\"TCP_OLD_DATA\",\"class\":\"duplicate\",\"segments\":1},"
		"{\"reason\":\"NEW_ONE\",\"class\":\"unclassified\",\"segments\":4}]}}]}",
		0, NULL);
	_cleanup_free_ char *text = shown(sonde_view_edges, json, SONDE_CLI_TABLE);

	assert_non_null(
		strstr(text, "0; may be loss: 4 (NEW_ONE 4); no loss: teardown 5, duplicate 1"));
	json_decref(json);
}

static void a_long_list_of_reasons_is_whole(void **state)
{
	json_t *drops = json_array(), *json;
	_cleanup_free_ char *text = NULL;

	for (int i = 0; i < 200; i++) {
		assert_ok(json_array_append_new(
			drops, json_pack("{s:s, s:i, s:s+}", "class", "loss", "segments", 1 + i,
					 "reason", "A_REASON_OF_SOME_LENGTH_",
					 i == 199 ? "LAST"
					 : i % 2  ? "ODD"
						  : "EVEN")));
	}
	for (size_t i = 0; i < json_array_size(drops); i++)
		assert_ok(json_object_set_new(json_array_get(drops, i), "site",
					      json_sprintf("a_function_of_the_kernel_%zu", i)));
	json = json_pack("{s:[{s:{s:o}}]}", "edges", "client_side", "drops", drops);
	text = shown(sonde_view_edges, json, SONDE_CLI_WIDE);
	assert_non_null(strstr(text, "a_function_of_the_kernel_0,"));
	assert_non_null(
		strstr(text, "A_REASON_OF_SOME_LENGTH_LAST 200 at a_function_of_the_kernel_199)"));
	assert_null(strstr(text, "…"));
	json_decref(json);
}

static void a_delayed_ack_is_explained(void **state)
{
	static const struct {
		int min, p99;
		bool told;
	} rows[] = {{50, 41000, true}, {39000, 45000, false}, {50, 9000, false}};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		struct sonde_cli_settings settings = {.utc = true};
		struct sonde_cli cli = {.settings = &settings};
		json_t *json = json_pack("{s:[{s:{s:{s:i, s:i}}}]}", "edges", "client_side",
					 "rtt_us", "min", rows[i].min, "p99", rows[i].p99);
		_cleanup_free_ char *out = NULL, *err = NULL;
		size_t n_out, n_err;

		cli.out = open_memstream(&out, &n_out);
		cli.err = open_memstream(&err, &n_err);
		assert_int_equal(sonde_view_edges(&cli, json), 0);
		assert_ok(fclose(cli.out));
		assert_ok(fclose(cli.err));
		assert_int_equal(strstr(err, "delayed ACK") != NULL, rows[i].told);
		json_decref(json);
	}
}

static void wide_edges_show_every_number_and_the_edge_id(void **state)
{
	json_t *json = fixture("topology");
	_cleanup_free_ char *text = shown(sonde_view_edges, json, SONDE_CLI_WIDE);

	assert_non_null(strstr(text, "HANDSHAKE P50"));
	assert_non_null(strstr(text, "18,220"));
	assert_non_null(strstr(text, "  e2\n"));
	json_decref(json);
}

static void an_edge_with_loss_has_a_verdict(void **state)
{
	static const char text[] =
		"{\"nodes\":[{\"id\":\"p\",\"process\":\"proxy\"},{\"id\":\"b\",\"process\":\"backend\"}],"
		"\"edges\":[{\"client\":\"p\",\"server\":\"b\",\"port\":9090,\"client_side\":{"
		"\"received_segments\":264007,\"drops\":[{\"direction\":\"receive\",\"class\":\"loss\","
		"\"reason\":\"NETFILTER_DROP\",\"where\":\"socket\",\"segments\":2600},{\"direction\":\"receive\","
		"\"class\":\"loss\",\"reason\":\"SOCKET_RCVBUFF\",\"segments\":7},{\"direction\":\"receive\",\"class\":\"loss\","
		"\"reason\":\"NETFILTER_DROP\",\"where\":\"elsewhere\",\"segments\":33},{\"direction\":\"receive\","
		"\"class\":\"duplicate\",\"reason\":\"TCP_OLD_DATA\",\"segments\":9}]},"
		"\"server_side\":{\"retransmitted_segments\":3000,\"sent_segments\":270000,\"drops\":[{"
		"\"direction\":\"transmit\",\"class\":\"loss\",\"where\":\"both_ends\","
		"\"reason\":\"NETFILTER_DROP\",\"segments\":2633}]}},"
		"{\"client\":\"p\",\"server\":\"b\",\"port\":1,\"client_side\":{\"sent_segments\":100000,"
		"\"retransmitted_segments\":0,\"drops\":[{\"direction\":\"transmit\",\"class\":\"loss\","
		"\"reason\":\"QDISC_DROP\",\"segments\":2}]},\"server_side\":null},"
		"{\"client\":\"p\",\"server\":\"b\",\"port\":2,\"client_side\":{\"received_segments\":null,"
		"\"drops\":[{\"class\":\"loss\",\"segments\":5}]},\"server_side\":{\"drops\":[]}},"
		"{\"client\":\"p\",\"server\":\"b\",\"port\":3,\"client_side\":{\"drops\":[]}}]}";
	json_t *json = json_loads(text, 0, NULL);
	_cleanup_free_ char *lines = shown(sonde_view_verdicts, json, SONDE_CLI_TABLE);

	assert_string_equal(
		lines,
		"proxy -> backend:9090: 1.0 % of segments towards proxy were dropped on receipt (2,640 "
		"of 266,647 received + dropped: NETFILTER_DROP 2,633, SOCKET_RCVBUFF 7); 3,000 retransmitted by "
		"backend\n"
		"proxy -> backend:1: under 0.1 % of segments from proxy were dropped on sending (2 of "
		"100,000 sent: QDISC_DROP 2) (seen by proxy alone)\n"
		"proxy -> backend:2: 5 segments towards proxy were dropped on receipt (of how many is "
		"not known: no reason 5)\n");
	json_decref(json);
}

/* 200 came to rdr:9999, of which 6 were read; who sent what was dropped the kernel does not say. */
static void a_receive_buffer_is_of_all_who_send(void **state)
{
#define TO_RDR(client, port, received, dropped)                                                    \
	"{\"client\":\"" client "\",\"server\":\"r\",\"protocol\":\"udp\",\"port\":" port          \
	",\"client_side\":null,\"server_side\":{\"received_datagrams\":" received                  \
	",\"buffer_dropped_datagrams\":" dropped "}}"
	static const char text[] =
		"{\"nodes\":[{\"id\":\"s\",\"process\":\"snd\"},{\"id\":\"o\",\"process\":\"other\"},"
		"{\"id\":\"r\",\"process\":\"rdr\"}],\"edges\":[" TO_RDR(
			"o", "9999", "0", "190") "," TO_RDR("s", "9999", "6",
							    "4") "," TO_RDR("s", "53", "30",
									    "10") "]}";
#undef TO_RDR
	json_t *json = json_loads(text, 0, NULL);
	_cleanup_free_ char *lines = NULL;

	assert_non_null(json);
	lines = shown(sonde_view_verdicts, json, SONDE_CLI_TABLE);
	assert_string_equal(
		lines,
		"other -> rdr:9999/udp: 97.0 % of datagrams found no room in the receive "
		"buffer of rdr (194 of 200 read + dropped, all senders to that port) (seen by "
		"rdr alone)\n"
		"snd -> rdr:53/udp: 25.0 % of datagrams found no room in the receive buffer of "
		"rdr (10 of 40 read + dropped) (seen by rdr alone)\n");
	free(lines);
	assert_int_equal(json_object_set_new(json, "more", json_pack("{s:i}", "edges", 3)), 0);
	lines = shown(sonde_view_verdicts, json, SONDE_CLI_TABLE);
	assert_string_equal(
		lines,
		"other -> rdr:9999/udp: 97.0 % of datagrams found no room in the receive "
		"buffer of rdr (194 of 200 read + dropped, of the rows shown) (seen by "
		"rdr alone)\n"
		"snd -> rdr:53/udp: 25.0 % of datagrams found no room in the receive buffer of "
		"rdr (10 of 40 read + dropped, of the rows shown) (seen by rdr alone)\n");
	json_decref(json);
}

#define IDLE_EDGE                                                                                      \
	"{\"client\": \"a\", \"server\": \"b\", \"port\": 80, \"server_side\": {\"sent_bytes\": 0, "   \
	"\"received_bytes\": 0, \"sent_segments\": 0, \"accepts\": 0, \"closes\": [], \"drops\": [], " \
	"\"open_at_end\": 1, \"rtt_us\": {\"count\": 0, \"p50\": null}}}"

static void an_end_of_which_nothing_is_told_is_counted_and_left_out(void **state)
{
	static const char words[] = "idle: 1 row left out, nothing was sent, received, opened, "
				    "closed or dropped there (-o wide has it)\n";
	json_t *idle = json_loads("{\"nodes\": [], \"edges\": [" IDLE_EDGE "]}", 0, NULL);
	_cleanup_free_ char *narrow = shown(sonde_view_edges, idle, SONDE_CLI_TABLE);
	_cleanup_free_ char *wide = shown(sonde_view_edges, idle, SONDE_CLI_WIDE);
	json_t *edge = json_array_get(json_object_get(idle, "edges"), 0);

	assert_string_equal(narrow, words);
	assert_non_null(strstr(wide, "server"));
	assert_null(strstr(wide, "idle: "));
	/* anything at all is told */
	assert_ok(json_object_set_new(
		json_object_get(edge, "server_side"), "closes",
		json_pack("[{s:s, s:s, s:i}]", "closer", "remote", "kind", "rst", "count", 1)));
	free(narrow);
	narrow = shown(sonde_view_edges, idle, SONDE_CLI_TABLE);
	assert_non_null(strstr(narrow, "remote rst 1"));
	assert_null(strstr(narrow, "idle: "));
	json_decref(idle);
}

static void a_listener_that_drops_is_not_idle(void **state)
{
	json_t *json = json_loads("{\"nodes\": [], \"edges\": [" IDLE_EDGE "]}", 0, NULL);
	json_t *edge = json_array_get(json_object_get(json, "edges"), 0);
	_cleanup_free_ char *text = NULL;

	assert_ok(json_object_set_new(json_object_get(edge, "server_side"), "listen_drops",
				      json_integer(194)));
	text = shown(sonde_view_edges, json, SONDE_CLI_TABLE);
	assert_non_null(strstr(text, "0; dropped by the listening socket 194"));
	assert_null(strstr(text, "idle: "));
	json_decref(json);
}

/* The row of an end that has @members and nothing else. */
static char *row_of_client(const char *members, int output)
{
	_cleanup_free_ char *text = NULL;
	char *row;
	json_t *json;

	assert_true(asprintf(&text, "{\"edges\":[{\"client_side\":{%s}}]}", members) > 0);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	row = shown(sonde_view_edges, json, output);
	json_decref(json);
	return row;
}

static void a_share_of_what_is_not_known_is_a_dash(void **state)
{
#define TIMES(busy, application)                                                                   \
	row_of_client("\"busy_us\":" busy ",\"receive_window_limited_us\":1,"                      \
		      "\"application_limited_us\":" application,                                   \
		      SONDE_CLI_WIDE)
	_cleanup_free_ char *both = TIMES("25", "75"), *one = TIMES("25", "null"),
			    *other = TIMES("null", "75");
#undef TIMES

	assert_non_null(strstr(both, "25.0 %"));
	assert_non_null(strstr(both, "1.0 %"));
	assert_non_null(strstr(both, "75.0 %"));
	assert_null(strchr(one, '%'));
	assert_null(strchr(other, '%'));
}

static void kinds_and_what_has_none_add_up(void **state)
{
#define RETRANSMITS(kinds)                                                                         \
	row_of_client("\"retransmitted_segments\":92,\"retransmits\":" kinds, SONDE_CLI_TABLE)
	_cleanup_free_ char *some = RETRANSMITS("{\"fast\":2,\"tlp\":86}");
	_cleanup_free_ char *all = RETRANSMITS("{\"fast\":2,\"tlp\":90}");
	_cleanup_free_ char *none = RETRANSMITS("{}");
	_cleanup_free_ char *absent = RETRANSMITS("null");
#undef RETRANSMITS

	assert_non_null(strstr(some, " 92 (fast 2, tlp 86, kind not told 4) "));
	assert_non_null(strstr(all, " 92 (fast 2, tlp 90) "));
	assert_non_null(strstr(none, " 92 (kind not told 92) "));
	assert_null(strstr(absent, "not told"));
}

static void connects_that_sent_no_syn_have_their_errno(void **state)
{
	_cleanup_free_ char *before = row_of_client(
		"\"connects\":0,\"local_connect_failures\":{\"ENETUNREACH\":3}", SONDE_CLI_TABLE);
	_cleanup_free_ char *both =
		row_of_client("\"connects\":4,\"connect_failures\":{\"ECONNREFUSED\":2},"
			      "\"local_connect_failures\":{\"ENETUNREACH\":1,\"EACCES\":2}",
			      SONDE_CLI_TABLE);

	assert_non_null(strstr(before, " 0, failed before a SYN 3 (ENETUNREACH 3)"));
	assert_non_null(strstr(both, " 4, failed 2 (ECONNREFUSED 2), failed before a SYN 3 "
				     "(ENETUNREACH 1, EACCES 2)"));
}

static void what_was_not_measured_has_no_share(void **state)
{
	_cleanup_free_ char *absent = row_of_client(
		"\"sent_segments\":10,\"retransmitted_segments\":null", SONDE_CLI_WIDE);
	_cleanup_free_ char *none =
		row_of_client("\"sent_segments\":10,\"retransmitted_segments\":0", SONDE_CLI_WIDE);

	assert_null(strstr(absent, "%"));
	assert_non_null(strstr(none, " 0.0 % "));
}

static void odd_answers_are_dashes(void **state)
{
	json_t *json = json_loads("{\"states\":[1,{\"at\":5,\"state\":[]}],\"edges\":[{},7,"
				  "{\"client_side\":{\"drops\":{}}}]}",
				  0, NULL);
	_cleanup_free_ char *states = shown(sonde_view_timeline, json, SONDE_CLI_TABLE);
	_cleanup_free_ char *edges = shown(sonde_view_edges, json, SONDE_CLI_TABLE);

	assert_string_equal(states, "AT  AFTER  STATE  WORDS\n-       -  -      -\n"
				    "-       -  -      -\n");
	assert_non_null(strstr(edges, "client"));
	json_decref(json);
}

static void totals_count_each_edge_once(void **state)
{
	json_t *json = fixture("topology");
	struct sonde_view_totals sum;

	sonde_view_sum(json, &sum);
	assert_int_equal(sum.edges, 2);
	assert_int_equal(sum.sent_bytes, 12999000 + 512);
	assert_int_equal(sum.received_bytes, 4300000 + 100);
	assert_int_equal(sum.retransmits, 12);
	json_decref(json);
}

static void sums_of_hostile_numbers_do_not_wrap(void **state)
{
	assert_int_equal(sonde_view_add(INT64_MAX, 1), INT64_MAX);
	assert_int_equal(sonde_view_add(5, -7), 5);
	assert_int_equal(sonde_view_add(5, 7), 12);
}

static void each_end_has_retransmits_and_drops_of_its_own(void **state)
{
	static const char text[] =
		"{\"edges\":[{\"client_side\":{\"sent_bytes\":10,\"received_bytes\":20,\"sent_segments\":5,"
		"\"retransmitted_segments\":1,\"drops\":[{\"class\":\"loss\",\"segments\":3}]},"
		"\"server_side\":{\"sent_bytes\":20,\"received_bytes\":10,\"sent_segments\":7,"
		"\"retransmitted_segments\":2,\"drops\":[{\"class\":\"loss\",\"segments\":4}]}},"
		"{\"client_side\":null,\"server_side\":{\"sent_bytes\":1,\"retransmitted_segments\":8}}]}";
	json_t *topology = json_loads(text, 0, NULL);
	struct sonde_view_totals sum;

	sonde_view_sum(topology, &sum);
	assert_int_equal(sum.edges, 2);
	assert_int_equal(sum.sent_bytes, 11);
	assert_int_equal(sum.received_bytes, 20);
	assert_int_equal(sum.sent_segments, 12);
	assert_int_equal(sum.retransmits, 11);
	assert_int_equal(sum.drops, 7);
	json_decref(topology);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges_have_a_row_for_each_side_that_was_a_target),
		cmocka_unit_test(a_dash_has_its_reasons),
		cmocka_unit_test(a_long_list_of_dashes_is_for_wide),
		cmocka_unit_test(a_drop_that_is_no_loss_says_so),
		cmocka_unit_test(a_long_list_of_reasons_is_whole),
		cmocka_unit_test(a_delayed_ack_is_explained),
		cmocka_unit_test(wide_edges_show_every_number_and_the_edge_id),
		cmocka_unit_test(an_edge_with_loss_has_a_verdict),
		cmocka_unit_test(a_receive_buffer_is_of_all_who_send),
		cmocka_unit_test(an_end_of_which_nothing_is_told_is_counted_and_left_out),
		cmocka_unit_test(a_listener_that_drops_is_not_idle),
		cmocka_unit_test(a_share_of_what_is_not_known_is_a_dash),
		cmocka_unit_test(kinds_and_what_has_none_add_up),
		cmocka_unit_test(connects_that_sent_no_syn_have_their_errno),
		cmocka_unit_test(what_was_not_measured_has_no_share),
		cmocka_unit_test(odd_answers_are_dashes),
		cmocka_unit_test(totals_count_each_edge_once),
		cmocka_unit_test(sums_of_hostile_numbers_do_not_wrap),
		cmocka_unit_test(each_end_has_retransmits_and_drops_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
