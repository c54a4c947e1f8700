/* SPDX-License-Identifier: Apache-2.0 */
/* The server's JSON as text. */
#include "sonde-test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/graph.h"
#include "ctl/progress.h"
#include "ctl/rest.h"
#include "ctl/view.h"
#include "ctl/wait.h"

static json_t *fixture(const char *name)
{
	char path[512];
	json_error_t error;
	json_t *json;

	(void)snprintf(path, sizeof(path), "%s/%s.json", FIXTURES_DIR, name);
	json = json_load_file(path, 0, &error);
	if (!json)
		fail_msg("%s: %s", path, error.text);
	return json;
}

/* What @view prints of @json. */
static char *shown(int (*view)(struct sonde_cli *, const json_t *), const json_t *json, int output)
{
	struct sonde_cli_settings settings = {.utc = true, .output = output};
	struct sonde_cli cli = {.settings = &settings, .headers = true, .headed = true};
	char *text = NULL;
	size_t n;

	cli.out = open_memstream(&text, &n);
	assert_non_null(cli.out);
	cli.err = stderr;
	assert_int_equal(view(&cli, json), 0);
	assert_ok(fclose(cli.out));
	return text;
}

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

static void a_dash_has_its_reasons(void **state)
{
	json_t *json = fixture("topology");
	_cleanup_free_ char *text = shown(sonde_view_dashes, json, SONDE_CLI_TABLE);

	assert_string_equal(text, "not requested (on 1 of 3 ends): exe_time\n"
				  "hook refused (on 1 of 3 ends): rtt\n");
	json_decref(json);
}

static int view_ledger(struct sonde_cli *cli, const json_t *ledger)
{
	return sonde_view_ledger(cli, ledger, NULL);
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

static void a_ledger_says_what_it_means_for_the_numbers(void **state)
{
	json_t *json = fixture("ledger");
	_cleanup_free_ char *text = shown(view_ledger, json, SONDE_CLI_TABLE);

	assert_string_equal(
		text,
		"\nLoss ledger\n"
		"5 lost: numbers are lower bounds; reports received 31 of 31, 0 duplicates, 0 "
		"missing\n"
		"SITE       COUNT  NUMBERS ARE   WORDS\n"
		"cell_full      3  exact         folds into `other`: totals exact, peer "
		"unknown\n"
		"drop_full      5  lower bounds  drops that found no slot for their "
		"reason\n");
	assert_int_equal(sonde_view_lost(json), 5);
	json_decref(json);
}

static void a_ledger_without_reports_is_not_taken_for_complete(void **state)
{
	json_t *json = json_pack("{s:b, s:[]}", "complete", 0, "entries");
	_cleanup_free_ char *text = shown(view_ledger, json, SONDE_CLI_TABLE);

	assert_int_equal(sonde_view_lost(json), -1);
	assert_string_equal(text, "\nLoss ledger\nnot complete: reports are missing\n");
	json_decref(json);
}

static json_t *ended(const char *last, const char *before)
{
	return json_pack("{s:s, s:[{s:s}, {s:s}]}", "state", last, "states", "state", before,
			 "state", last);
}

static int view_failed_early(struct sonde_cli *cli, const json_t *ledger)
{
	static const char *const states[] = {"failed", "refused", "expired"};
	int status = 0;

	for (size_t i = 0; status == 0 && i < ELEMENTS_OF(states); i++) {
		json_t *task = ended(states[i], "planned");

		status = sonde_view_ledger(cli, ledger, task);
		json_decref(task);
	}
	return status;
}

static int view_failed_late(struct sonde_cli *cli, const json_t *ledger)
{
	json_t *task = ended("failed", "running");
	int status = sonde_view_ledger(cli, ledger, task);

	json_decref(task);
	return status;
}

static int view_running(struct sonde_cli *cli, const json_t *ledger)
{
	json_t *task = json_pack("{s:s, s:i}", "state", "running", "report_interval_ms", 2000);
	int status = sonde_view_ledger(cli, ledger, task);

	json_decref(task);
	return status;
}

static void a_ledger_says_what_is_still_to_come(void **state)
{
	static const char head[] =
		"\nLoss ledger\nnothing was lost so far: every number is exact, of "
		"what has come; reports received 0 of 0, 0 duplicates, 0 missing";
	json_t *spools = json_pack("{s:b, s:[], s:{s:i, s:i}}", "complete", 1, "entries", "reports",
				   "spooled", 12, "silent_ms", 60000);
	json_t *silent = json_pack("{s:b, s:[], s:{s:i}}", "complete", 1, "entries", "reports",
				   "silent_ms", 9001);
	json_t *well = json_pack("{s:b, s:[], s:{s:i}}", "complete", 1, "entries", "reports",
				 "silent_ms", 9000);
	_cleanup_free_ char *a = shown(view_running, spools, SONDE_CLI_TABLE);
	_cleanup_free_ char *b = shown(view_running, silent, SONDE_CLI_TABLE);
	_cleanup_free_ char *c = shown(view_running, well, SONDE_CLI_TABLE);

	assert_memory_equal(a, head, strlen(head));
	assert_string_equal(a + strlen(head), "; reports still on their way: agents spool 12\n");
	assert_string_equal(b + strlen(head),
			    "; no report for 00:09: what its agent holds comes when it is back\n");
	assert_string_equal(c + strlen(head), "\n");
	json_decref(spools);
	json_decref(silent);
	json_decref(well);
}

static void a_ledger_of_a_task_that_failed_calls_nothing_exact(void **state)
{
	json_t *json = json_pack("{s:b, s:[]}", "complete", 1, "entries");
	_cleanup_free_ char *early = shown(view_failed_early, json, SONDE_CLI_TABLE);
	_cleanup_free_ char *late = shown(view_failed_late, json, SONDE_CLI_TABLE);
	_cleanup_free_ char *good = shown(view_ledger, json, SONDE_CLI_TABLE);

	assert_string_equal(early, "\nLoss ledger\nnothing was measured\n"
				   "\nLoss ledger\nnothing was measured\n"
				   "\nLoss ledger\nnothing was measured\n");
	assert_non_null(strstr(late, "the task ended before its time"));
	assert_non_null(strstr(good, "every number is exact"));
	json_decref(json);
}

static void an_edge_with_loss_has_a_verdict(void **state)
{
	static const char text[] =
		"{\"nodes\":[{\"id\":\"p\",\"process\":\"proxy\"},{\"id\":\"b\",\"process\":\"backend\"}],"
		"\"edges\":[{\"client\":\"p\",\"server\":\"b\",\"port\":9090,\"client_side\":{"
		"\"received_segments\":264007,\"drops\":[{\"direction\":\"receive\",\"class\":\"loss\","
		"\"reason\":\"NETFILTER_DROP\",\"segments\":2633},{\"direction\":\"receive\","
		"\"class\":\"duplicate\",\"reason\":\"TCP_OLD_DATA\",\"segments\":9}]},"
		"\"server_side\":{\"retransmitted_segments\":3000}},"
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
		"proxy -> backend:9090: 1.0 % of segments towards proxy were dropped on receipt (2,633 "
		"of 266,640 received + dropped: NETFILTER_DROP 2,633); 3,000 retransmitted by "
		"backend\n"
		"proxy -> backend:1: under 0.1 % of segments from proxy were dropped on sending (2 of "
		"100,000 sent: QDISC_DROP 2) (seen by proxy alone)\n"
		"proxy -> backend:2: 5 segments towards proxy were dropped on receipt (of how many is "
		"not known: no reason 5)\n");
	json_decref(json);
}

static void a_time_line_shows_time_and_words(void **state)
{
	json_t *json = fixture("task-running");
	_cleanup_free_ char *text = shown(sonde_view_timeline, json, SONDE_CLI_TABLE);

	assert_string_equal(text,
			    "AT                              AFTER  STATE     WORDS\n"
			    "2026-01-01 00:00:00.000 UTC  +0.000 s  accepted  -\n"
			    "2026-01-01 00:00:00.050 UTC  +0.050 s  planned   2 targets\n"
			    "2026-01-01 00:00:00.200 UTC  +0.200 s  running   9 probes attached\n");
	json_decref(json);
}

static void an_idle_proof_says_what_was_asked(void **state)
{
	json_t *asked = json_pack("{s:i, s:i, s:i, s:i, s:i, s:b, s:i}", "programs", 9, "maps", 7,
				  "links", 9, "bpf_fds_left", 0, "ids_alive", 0, "ids_asked", 1,
				  "wait_ns", 12000000);
	json_t *not_asked = json_pack("{s:i, s:b}", "programs", 9, "ids_asked", 0);
	json_t *first = json_pack("{s:o}", "idle_proof", asked);
	json_t *second = json_pack("{s:o}", "idle_proof", not_asked);
	_cleanup_free_ char *a = shown(sonde_view_idle_proof, first, SONDE_CLI_TABLE);
	_cleanup_free_ char *b = shown(sonde_view_idle_proof, second, SONDE_CLI_TABLE);

	assert_string_equal(a, "\nIdle proof\nloaded 9 programs, 7 maps, 9 links; left: 0 BPF "
			       "descriptors, 0 ids alive (the last went after 12ms)\n");
	assert_non_null(strstr(b, "left: 0 BPF descriptors, and nothing is ever pinned\n"));
	assert_non_null(strstr(b, "sudo sonde-agent --idle-proof"));
	assert_non_null(strstr(b, "--state-dir"));
	json_decref(first);
	json_decref(second);
}

static char *without_proof(const char *state, const char *before, bool ended)
{
	json_t *task = json_pack("{s:s, s:[{s:s}, {s:s}], s:n, s:[{s:s, s:b, s:b}]}", "state",
				 state, "states", "state", before, "state", state, "idle_proof",
				 "agents", "agent_id", "a1", "ended", (int)ended, "idle_proof", 0);
	char *text = shown(sonde_view_idle_proof, task, SONDE_CLI_TABLE);

	json_decref(task);
	return text;
}

static void a_missing_idle_proof_has_its_reason(void **state)
{
	_cleanup_free_ char *shared = without_proof("done", "running", true);
	_cleanup_free_ char *silent = without_proof("failed", "running", false);
	_cleanup_free_ char *failed = without_proof("failed", "running", true);
	_cleanup_free_ char *early = without_proof("refused", "accepted", true);
	_cleanup_free_ char *running = without_proof("running", "accepted", false);

	assert_string_equal(shared, "\nIdle proof\nnone of agent a1: another task of it still ran, "
				    "so its probes stayed attached; the last task to end has the "
				    "proof\n");
	assert_non_null(strstr(silent, "none of agent a1: it sent no last report"));
	assert_non_null(strstr(failed, "none of agent a1: its probe could not make one"));
	assert_string_equal(early, "");
	assert_string_equal(running, "");
}

static void a_denied_target_names_the_rule(void **state)
{
	json_t *json = json_pack("{s:[{s:i, s:s, s:s}, {s:i, s:s, s:s}]}", "targets", "pid", 7,
				 "state", "denied", "reason", "no-databases", "pid", 8, "state",
				 "gone", "reason", "ended");
	_cleanup_free_ char *text = shown(sonde_view_targets, json, SONDE_CLI_TABLE);

	assert_non_null(strstr(text, "refused by rule no-databases of the node's policy"));
	assert_non_null(strstr(text, "  ended\n"));
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

static char *quiet(const char *task_text, const char *topology_text)
{
	struct sonde_cli_settings settings = {.utc = true};
	struct sonde_cli cli = {.settings = &settings, .headers = true, .headed = true};
	json_t *task = json_loads(task_text, 0, NULL),
	       *topology = json_loads(topology_text, 0, NULL);
	char *text = NULL;
	size_t n;

	assert_true(task && topology);
	cli.out = open_memstream(&text, &n);
	assert_non_null(cli.out);
	assert_int_equal(sonde_view_quiet(&cli, task, topology), 0);
	assert_ok(fclose(cli.out));
	json_decref(task);
	json_decref(topology);
	return text;
}

static void a_target_without_traffic_is_named(void **state)
{
	static const char task[] =
		"{\"spec\": {\"collectors\": [\"tcp\"]}, \"targets\": ["
		"{\"pid\": 7, \"process_id\": \"p7\", \"name\": \"web\", \"state\": \"found\"}, "
		"{\"pid\": 8, \"process_id\": \"p8\", \"name\": \"cron\", \"state\": \"found\"}, "
		"{\"pid\": 9, \"process_id\": \"p8\", \"name\": \"cron\", \"state\": \"found\"}, "
		"{\"pid\": 10, \"process_id\": \"\", \"name\": \"\", \"state\": \"gone\"}]}";
	_cleanup_free_ char *one =
		quiet(task, "{\"edges\": [{\"client\": \"x\", \"server\": \"p7\"}]}");
	_cleanup_free_ char *all = quiet(task, "{\"edges\": []}");
	_cleanup_free_ char *none = quiet("{\"targets\": []}", "{\"edges\": []}");
	_cleanup_free_ char *busy =
		quiet(task, "{\"edges\": [{\"client\": \"p8\", \"server\": \"p7\"}]}");

	assert_string_equal(one, "no TCP traffic in this time: cron (pid 8)\n");
	assert_string_equal(all, "no TCP traffic in this time: web (pid 7), cron (pid 8)\n");
	assert_string_equal(none, "no TCP traffic of the targets was seen in this time\n");
	assert_string_equal(busy, "");
}

static void targets_that_were_not_there_have_their_reason(void **state)
{
	json_t *json = json_loads(
		"{\"targets\": [{\"pid\": 7, \"name\": \"web\", \"state\": \"found\"}, {\"pid\": 8, "
		"\"name\": \"\", \"state\": \"gone\", \"reason\": \"no such process\"}]}",
		0, NULL);
	json_t *found = json_loads("{\"targets\": [{\"pid\": 7, \"state\": \"found\"}]}", 0, NULL);
	_cleanup_free_ char *text = shown(sonde_view_absentees, json, SONDE_CLI_TABLE);
	_cleanup_free_ char *none = shown(sonde_view_absentees, found, SONDE_CLI_TABLE);

	assert_non_null(strstr(text, "no such process"));
	assert_null(strstr(text, "web"));
	assert_string_equal(none, "");
	json_decref(json);
	json_decref(found);
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

static void the_progress_line_shows_state_time_and_bar(void **state)
{
	_cleanup_buf_ struct sonde_buf line = SONDE_BUF_INIT(4096), numbers = SONDE_BUF_INIT(4096);
	json_t *task = fixture("task-running"), *topology = fixture("topology"),
	       *ledger = fixture("ledger");
	const int64_t now_ms = 1767225600200 + 23000;

	assert_ok(sonde_progress_line(task, now_ms, 24, &line));
	assert_string_equal(sonde_buf_str(&line), "Task t1 (nginx)   RUNNING  00:23/01:00 "
						  "[#########...............]");
	assert_ok(sonde_progress_numbers(task, topology, ledger, now_ms, &numbers));
	assert_string_equal(sonde_buf_str(&numbers),
			    "edges 2  16.4 MiB  retrans 12 (0.1%)  drops 7   5 lost   agent cpu "
			    "0.0%");
	json_decref(task);
	json_decref(topology);
	json_decref(ledger);
}

static void assert_numbers(json_t *task, const char *expected)
{
	_cleanup_buf_ struct sonde_buf numbers = SONDE_BUF_INIT(4096);
	json_t *topology = json_pack("{s:[]}", "edges");

	assert_non_null(task);
	assert_ok(sonde_progress_numbers(task, topology, NULL, 1767225600000, &numbers));
	assert_string_equal(sonde_buf_str(&numbers), expected);
	json_decref(topology);
	json_decref(task);
}

static void without_numbers_it_says_what_is_waited_for(void **state)
{
	assert_numbers(json_pack("{s:s, s:n, s:{s:I}}", "state", "accepted", "started", "spec",
				 "startWallMs", (json_int_t)1767225600000 + 65000),
		       "waiting for its start, in 01:05");
	assert_numbers(json_pack("{s:s, s:n, s:{}}", "state", "attaching", "started", "spec"),
		       "waiting for the agent to attach");
	assert_numbers(json_pack("{s:s, s:n, s:{}, s:[{s:s}]}", "state", "accepted", "started",
				 "spec", "states", "at", "2025-12-31T23:59:58.500Z"),
		       "waiting for the agent to take it, 1.5 s");
	assert_numbers(json_pack("{s:s, s:s, s:i, s:{s:i}}", "state", "running", "started",
				 "2025-12-31T23:59:59.000Z", "report_interval_ms", 2000, "reports",
				 "received", 0),
		       "waiting for the first report (2 s)   agent cpu 0.0%");
	assert_numbers(json_pack("{s:s, s:s, s:{s:i}}", "state", "running", "started",
				 "2025-12-31T23:59:59.000Z", "reports", "received", 1),
		       "edges 0  0 B  retrans 0 (0.0%)  drops 0   agent cpu 0.0%");
}

static int verdict(const char *task_state, const char *reason, const char *code)
{
	json_t *task = json_pack("{s:s, s:s, s:s, s:s*}", "id", "t1", "state", task_state, "reason",
				 reason, "reason_code", code);
	struct sonde_cli cli = {.quiet = true};
	char *text = NULL;
	size_t n;
	int status;

	cli.out = cli.err = open_memstream(&text, &n);
	status = sonde_wait_verdict(&cli, task);
	assert_ok(fclose(cli.err));
	free(text);
	json_decref(task);
	return status;
}

static void a_final_state_has_its_exit_status(void **state)
{
	assert_int_equal(verdict("done", "", ""), SONDE_CLI_OK);
	assert_int_equal(verdict("stopped", "by a person", ""), SONDE_CLI_OK);
	assert_int_equal(verdict("refused", "policy: processes.denied", ""), SONDE_CLI_REFUSED);
	assert_int_equal(verdict("expired", "", NULL), SONDE_CLI_TIMEOUT);
	/* the words decide nothing */
	assert_int_equal(verdict("failed", "kernel: not permitted", ""), SONDE_CLI_INTERNAL);
	assert_int_equal(verdict("failed", "kernel: not permitted", NULL), SONDE_CLI_INTERNAL);
	assert_int_equal(verdict("failed", "CAP_BPF", "bpf_refused"), SONDE_CLI_UNSUPPORTED);
	assert_int_equal(verdict("exploded", "", ""), SONDE_CLI_INTERNAL);
}

static void ids_cannot_leave_their_place_in_the_path(void **state)
{
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(256);

	assert_ok(sonde_cli_task_path("a/../b?c#d%", "/stop", &path));
	assert_string_equal(sonde_buf_str(&path), "/api/v1/tasks/a%2F..%2Fb%3Fc%23d%25/stop");
	assert_err(sonde_cli_task_path("..", "", &path), EINVAL);
	assert_err(sonde_cli_task_path("", "", &path), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges_have_a_row_for_each_side_that_was_a_target),
		cmocka_unit_test(a_dash_has_its_reasons),
		cmocka_unit_test(a_drop_that_is_no_loss_says_so),
		cmocka_unit_test(a_delayed_ack_is_explained),
		cmocka_unit_test(wide_edges_show_every_number_and_the_edge_id),
		cmocka_unit_test(a_ledger_says_what_it_means_for_the_numbers),
		cmocka_unit_test(a_ledger_without_reports_is_not_taken_for_complete),
		cmocka_unit_test(a_ledger_says_what_is_still_to_come),
		cmocka_unit_test(a_ledger_of_a_task_that_failed_calls_nothing_exact),
		cmocka_unit_test(an_edge_with_loss_has_a_verdict),
		cmocka_unit_test(a_time_line_shows_time_and_words),
		cmocka_unit_test(an_idle_proof_says_what_was_asked),
		cmocka_unit_test(a_missing_idle_proof_has_its_reason),
		cmocka_unit_test(a_denied_target_names_the_rule),
		cmocka_unit_test(an_end_of_which_nothing_is_told_is_counted_and_left_out),
		cmocka_unit_test(a_target_without_traffic_is_named),
		cmocka_unit_test(targets_that_were_not_there_have_their_reason),
		cmocka_unit_test(odd_answers_are_dashes),
		cmocka_unit_test(totals_count_each_edge_once),
		cmocka_unit_test(sums_of_hostile_numbers_do_not_wrap),
		cmocka_unit_test(nodes_of_one_name_are_told_apart),
		cmocka_unit_test(graphs_cannot_be_broken_out_of),
		cmocka_unit_test(each_end_has_retransmits_and_drops_of_its_own),
		cmocka_unit_test(the_progress_line_shows_state_time_and_bar),
		cmocka_unit_test(without_numbers_it_says_what_is_waited_for),
		cmocka_unit_test(a_final_state_has_its_exit_status),
		cmocka_unit_test(ids_cannot_leave_their_place_in_the_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
