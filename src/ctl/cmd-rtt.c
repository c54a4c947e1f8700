/* SPDX-License-Identifier: Apache-2.0 */
/* sonde rtt: how long acknowledgements took, end by end or as a histogram */
#include <errno.h>
#include <string.h>

#include "ctl/fetch.h"
#include "ctl/histogram.h"
#include "ctl/task-time.h"
#include "ctl/units.h"
#include "ctl/view.h"

#define RTT_PATH_MAX 4096
#define BAR 28 /* letters of the longest; with the other columns 80 */

static void add_end(struct sonde_table *t, const json_t *end)
{
	static const char *const numbers[] = {"min", "p50", "p90", "p99", "max", "mean", "jitter"};
	const json_t *rtt = json_object_get(end, "rtt_us");

	sonde_cell_text(t, end, "client");
	sonde_cell_text(t, end, "server");
	sonde_cell_number(t, end, "port");
	sonde_cell_text(t, end, "side");
	sonde_cell_count(t, rtt, "count");
	for (size_t i = 0; i < ELEMENTS_OF(numbers); i++)
		sonde_cell_us(t, rtt, numbers[i]);
	sonde_cell_text(t, end, "edge");
}

static bool has_samples(const json_t *answer)
{
	const json_t *rtt = json_object_get(answer, "rtt_us");

	return json_integer_value(json_object_get(rtt, "count")) != 0;
}

static int print_ends(struct sonde_cli *cli, const json_t *answer)
{
	static const struct sonde_column columns[] = {{"CLIENT", false, true},
						      {"SERVER", false, true},
						      {"PORT", true, false},
						      {"SIDE", false, false},
						      {"N", true, false},
						      {"MIN", true, false, false, "us"},
						      {"P50", true, false, false, "us"},
						      {"P90", true, false, false, "us"},
						      {"P99", true, false, false, "us"},
						      {"MAX", true, false, false, "us"},
						      {"MEAN", true, false, true, "us"},
						      {"JITTER", true, false, false, "us"},
						      {"EDGE", false, false, true},
						      {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *ends = has_samples(answer) ? json_object_get(answer, "ends") : NULL;
	int r;

	r = sonde_table_new(columns, &t);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < json_array_size(ends); i++)
		add_end(t, json_array_get(ends, i));
	if (sonde_table_rows(t) == 0)
		return sonde_view_no_rows(cli, t);
	r = sonde_view_table(cli, t);
	if (r == 0)
		sonde_view_next(cli, answer);
	return r;
}

/* "####  p50 p90": one letter for anything that was there at all. */
static void cell_bar(struct sonde_table *t, const struct sonde_histogram *h,
		     const struct sonde_histogram_row *row, const json_t *rtt)
{
	static const char *const marks[] = {"p50", "p90", "p99"};
	char text[BAR + 32];
	size_t n = 0;

	if (h->most > 0)
		n = (size_t)((double)row->count / (double)h->most * BAR + 0.5);
	n = n == 0 && row->count > 0 ? 1 : n > BAR ? BAR : n;
	memset(text, '#', n);
	for (size_t i = 0; i < ELEMENTS_OF(marks); i++) {
		const json_t *at = json_object_get(rtt, marks[i]);

		if (!json_is_integer(at) || json_integer_value(at) < row->from ||
		    (row->below > 0 && json_integer_value(at) >= row->below))
			continue;
		n += (size_t)snprintf(text + n, sizeof(text) - n, " %s", marks[i]);
	}
	text[n] = '\0';
	/* a picture is no value: of CSV only the marks are */
	sonde_table_add_raw(t, SONDE_STYLE_NONE, n > 0 ? text : " ",
			    text + strspn(text, "#") + (text[strspn(text, "#")] == ' '));
}

static void cell_share(struct sonde_table *t, double percent)
{
	char text[32], raw[32];

	(void)snprintf(text, sizeof(text), "%.1f %%", percent);
	(void)snprintf(raw, sizeof(raw), "%.17g", percent);
	sonde_table_add_raw(t, SONDE_STYLE_NONE, text, raw);
}

static int print_histogram(struct sonde_cli *cli, const json_t *answer)
{
	static const struct sonde_column columns[] = {{"FROM", true, false, false, "us"},
						      {"BELOW", true, false, false, "us"},
						      {"COUNT", true, false},
						      {"SHARE", true, false, false, "percent"},
						      {"RTT", false, false},
						      {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *rtt = json_object_get(answer, "rtt_us");
	struct sonde_histogram h;
	int r;

	r = sonde_table_new(columns, &t);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	sonde_histogram_make(json_object_get(rtt, "buckets"), &h);
	for (size_t i = 0; i < h.n; i++) {
		json_t *row =
			json_pack("{s:I, s:o, s:I}", "from", (json_int_t)h.row[i].from, "below",
				  h.row[i].below ? json_integer(h.row[i].below) : json_null(),
				  "count", (json_int_t)h.row[i].count);

		sonde_cell_us(t, row, "from");
		sonde_cell_us(t, row, "below");
		sonde_cell_count(t, row, "count");
		cell_share(t, 100 * (double)h.row[i].count / (double)(h.count ? h.count : 1));
		cell_bar(t, &h, &h.row[i], rtt);
		json_decref(row);
	}
	if (sonde_table_rows(t) == 0)
		return sonde_view_no_rows(cli, t);
	return sonde_view_table(cli, t);
}

/* One line of what all of it comes to. */
static void note_all(struct sonde_cli *cli, const json_t *answer)
{
	static const char *const names[] = {"min", "p50", "p90", "p99", "max", "jitter"};
	const json_t *rtt = json_object_get(answer, "rtt_us");
	char words[512] = "", number[SONDE_UNIT_MAX];
	size_t at = 0;

	for (size_t i = 0; i < ELEMENTS_OF(names); i++) {
		const json_t *value = json_object_get(rtt, names[i]);

		if (json_is_number(value))
			at += (size_t)snprintf(words + at, sizeof(words) - at, ", %s %s", names[i],
					       sonde_unit_us(json_number_value(value), number));
	}
	sonde_cli_note(cli, "n %s%s",
		       sonde_unit_count(json_integer_value(json_object_get(rtt, "count")), number),
		       words);
}

static void note_none(struct sonde_cli *cli, const json_t *answer)
{
	const char *reason =
		json_string_value(json_object_get(json_object_get(answer, "absent"), "count"));

	sonde_cli_note(cli, "no RTT: %.300s", reason ? reason : "no sample");
}

static int print_rtt(struct sonde_cli *cli, const json_t *answer)
{
	int status;

	sonde_view_window(cli, answer);
	if (!has_samples(answer))
		note_none(cli, answer);
	status = sonde_cli_flag(cli, "hist") ? print_histogram(cli, answer)
					     : print_ends(cli, answer);
	if (status == SONDE_CLI_OK && has_samples(answer))
		note_all(cli, answer);
	return status;
}

static int check_edge(struct sonde_cli *cli, const char *task, const char *edge)
{
	_cleanup_answer_ struct sonde_rest_answer topology = SONDE_REST_ANSWER_INIT;
	const json_t *edges;
	int status = sonde_cli_get_task(cli, task, "/topology", &topology);

	if (status != 0)
		return status;
	edges = json_object_get(topology.json, "edges");
	for (size_t i = 0; i < json_array_size(edges); i++) {
		const char *id = json_string_value(json_object_get(json_array_get(edges, i), "id"));

		if (id && strcmp(id, edge) == 0)
			return 0;
	}
	return sonde_cli_fail(cli, SONDE_CLI_NOT_FOUND,
			      "no edge '%.200s' in the topology of task %s; -o wide has their ids",
			      edge, task);
}

int sonde_cli_rtt(struct sonde_cli *cli)
{
	static const char *const flags[] = {"side", "limit", "cursor"};
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(RTT_PATH_MAX);
	int status, r;

	r = sonde_cli_task_path(cli->operands[0], "/rtt", &path);
	if (r == 0 && cli->n_operands > 1)
		r = sonde_cli_add_parameter(&path, "edge", cli->operands[1]);
	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(flags); i++)
		r = sonde_cli_add_parameter(&path, flags[i], sonde_cli_flag(cli, flags[i]));
	if (r < 0)
		return sonde_cli_no_task_path(cli, cli->operands[0], r);
	status = sonde_cli_add_task_window(cli, &path);
	if (status == 0)
		status = sonde_cli_request(cli, sonde_buf_str(&path), NULL, &answer);
	if (status == 0 && cli->n_operands > 1 && !has_samples(answer.json))
		status = check_edge(cli, cli->operands[0], cli->operands[1]);
	if (status != 0)
		return status;
	status = sonde_cli_output(cli) == SONDE_CLI_JSON ? sonde_cli_print_json(cli, &answer)
							 : print_rtt(cli, answer.json);
	/* of one edge it is the answer that there is none, in each form */
	if (status == SONDE_CLI_OK && cli->n_operands > 1 && !has_samples(answer.json))
		return SONDE_CLI_NOT_FOUND;
	return status;
}
