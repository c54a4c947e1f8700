/* SPDX-License-Identifier: Apache-2.0 */
#include "truth.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "bpf/unseen.h"
#include "feature.h"
#include "words.h"

#define ROWS_MAX 2048

struct row {
	const char *scene;
	char of[64];
	char metric[48];
	const char *source;
	uint64_t truth, low, high, ours;
	char bound[TRUTH_TEXT_MAX]; /* why it is not 0; of an absent one, why it is absent */
	enum truth_verdict verdict;
};

static const char *const verdict_names[_TRUTH_VERDICT_MAX] = {
	[TRUTH_OK] = "ok",	     [TRUTH_VIOLATED] = "VIOLATED", [TRUTH_ABSENT] = "absent",
	[TRUTH_MISSING] = "MISSING", [TRUTH_NOT_RUN] = "not run",
};

static struct row rows[ROWS_MAX];
static size_t n_rows, scene_first;
static const char *scene_name = "";
static uint64_t scene_turns_of_1;
static char case_name[64];

static struct row *new_row(const char *metric, const char *source)
{
	struct row *row;

	if (n_rows == ROWS_MAX)
		fail_msg("more than %d rows", ROWS_MAX);
	row = &rows[n_rows++];
	*row = (struct row){.scene = scene_name, .source = source};
	(void)snprintf(row->of, sizeof(row->of), "%s", case_name);
	(void)snprintf(row->metric, sizeof(row->metric), "%s", metric);
	return row;
}

static bool is_right(const struct row *row)
{
	return row->verdict != TRUTH_VIOLATED && row->verdict != TRUTH_MISSING;
}

void truth_case(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(case_name, sizeof(case_name), fmt, args);
	va_end(args);
}

static void judge(const char *metric, const char *source, uint64_t truth, uint64_t low,
		  uint64_t high, uint64_t ours, const char *why)
{
	struct row *row = new_row(metric, source);

	row->truth = truth;
	row->low = low;
	row->high = high;
	row->ours = ours;
	(void)snprintf(row->bound, sizeof(row->bound), "%s", why);
	row->verdict = ours >= low && ours <= high ? TRUTH_OK : TRUTH_VIOLATED;
}

void truth_exact(const char *metric, uint64_t truth, const char *source, uint64_t ours)
{
	judge(metric, source, truth, truth, truth, ours, "");
}

void truth_within(const char *metric, uint64_t truth, const char *source, uint64_t ours,
		  uint64_t below, uint64_t above, const char *why)
{
	judge(metric, source, truth, below < truth ? truth - below : 0, truth + above, ours, why);
}

void truth_between(const char *metric, uint64_t low, uint64_t high, const char *source,
		   uint64_t ours, const char *why)
{
	judge(metric, source, low, low, high, ours, why);
}

void truth_seen(const char *metric, uint64_t truth, const char *source, uint64_t ours,
		uint64_t ledger)
{
	const uint64_t turns = unseen_turns_of_process_1() - scene_turns_of_1;
	const uint64_t unseen = turns > 0 ? truth / 100 : 0;
	char why[TRUTH_TEXT_MAX] = "";

	if (ledger > 0)
		(void)snprintf(why, sizeof(why), "%" PRIu64 " in the ledger", ledger);
	if (unseen > 0)
		(void)snprintf(why + strlen(why), sizeof(why) - strlen(why),
			       "%s1 %% unseen: process 1 ran %" PRIu64 " times", ledger ? ", " : "",
			       turns);
	truth_within(metric, truth, source, ours, ledger + unseen, 0, why);
}

void truth_not_run(const char *metric, const char *fmt, ...)
{
	struct row *row = new_row(metric, "");
	va_list args;

	row->verdict = TRUTH_NOT_RUN;
	va_start(args, fmt);
	(void)vsnprintf(row->bound, sizeof(row->bound), fmt, args);
	va_end(args);
}

/* The record of what measures @metrics; else the one that says why nothing does, or NULL. */
static const struct sonde_probe_probe *find_probe(const struct fixture *f, const char *metrics)
{
	const struct sonde_probe_probe *absent = NULL;

	for (size_t i = 0; i < f->n_probes; i++) {
		const struct sonde_probe_probe *probe = &f->probes[i];

		if (strcmp(probe->metrics, metrics) != 0)
			continue;
		if (probe->state == SONDE_PROBE_ATTACHED)
			return probe;
		if (!absent || probe->state == SONDE_PROBE_ABSENT)
			absent = probe;
	}
	return absent;
}

static bool add_absence(const char *metric, const char *metrics, bool excused,
			const struct sonde_probe_probe *probe, const char *words)
{
	struct row *row = new_row(metric, "");

	row->verdict = probe && excused ? TRUTH_ABSENT : TRUTH_MISSING;
	if (probe)
		(void)snprintf(row->bound, sizeof(row->bound), "%s: %s", probe->name, words);
	else
		(void)snprintf(row->bound, sizeof(row->bound), "no PROBE record of \"%s\"",
			       metrics);
	return false;
}

bool truth_has(const struct fixture *f, const char *metric, const char *metrics)
{
	const struct sonde_probe_probe *probe = find_probe(f, metrics);

	if (probe && probe->state == SONDE_PROBE_ATTACHED)
		return true;
	return add_absence(metric, metrics, !feature_is_here(metrics), probe,
			   probe ? probe->reason : "");
}

bool truth_has_best(const struct fixture *f, const char *metric, const char *metrics)
{
	const struct sonde_probe_probe *probe = find_probe(f, metrics);

	if (!probe || probe->state != SONDE_PROBE_ATTACHED)
		return truth_has(f, metric, metrics);
	if (probe->less[0] == 0)
		return true;
	return add_absence(metric, metrics, !feature_best_is_here(metrics), probe, probe->less);
}

const char *truth_probe(const struct fixture *f, const char *metrics)
{
	const struct sonde_probe_probe *probe = find_probe(f, metrics);

	return probe && probe->state == SONDE_PROBE_ATTACHED ? probe->name : "";
}

bool truth_is_whole(const struct fixture *f, const char *scene)
{
	static const char core[] = "payload, segments, gauges";
	static const char *const of_both_tiers[] = {"bytes", "connections", "connect_failures",
						    "handshakes"};
	const struct sonde_probe_probe *probe = find_probe(f, core);

	if (probe && probe->state == SONDE_PROBE_ATTACHED && probe->less[0] == 0)
		return true;
	for (size_t i = 0; i < ELEMENTS_OF(of_both_tiers); i++)
		if (strcmp(scene, of_both_tiers[i]) == 0)
			return true;
	return add_absence(scene, core, !feature_has_function("BPF_FUNC_loop"), probe,
			   probe ? probe->less : "");
}

void truth_begin(const char *scene)
{
	scene_name = scene;
	while (n_rows > 0 && strcmp(rows[n_rows - 1].scene, scene) == 0)
		n_rows--; /* of its run before, which showed nothing */
	scene_first = n_rows;
	scene_turns_of_1 = unseen_turns_of_process_1();
	case_name[0] = 0;
}

void truth_end(void)
{
	size_t wrong = 0;

	for (size_t i = scene_first; i < n_rows; i++) {
		const struct row *row = &rows[i];

		if (is_right(row))
			continue;
		wrong++;
		print_error("%s: %s: %s: truth %" PRIu64 " (%s), ours %" PRIu64 ", allowed %" PRIu64
			    " to %" PRIu64 " %s\n",
			    row->scene, row->of, row->metric, row->truth, row->source, row->ours,
			    row->low, row->high, row->bound);
	}
	assert_int_equal(wrong, 0);
	assert_true(n_rows > scene_first); /* a scene that compares nothing is no test */
}

static bool has_numbers(const struct row *row)
{
	return row->verdict == TRUTH_OK || row->verdict == TRUTH_VIOLATED;
}

static void print_bound(const struct row *row, char *out, size_t size)
{
	const uint64_t below = row->truth - row->low, above = row->high - row->truth;

	if (!has_numbers(row))
		(void)snprintf(out, size, "-");
	else if (below == 0 && above == 0)
		(void)snprintf(out, size, "0");
	else
		(void)snprintf(out, size, "-%" PRIu64 " +%" PRIu64, below, above);
}

static void print_row(const struct row *row)
{
	char name[128], bound[48], truth[24] = "-", ours[24] = "-", difference[24] = "-";

	(void)snprintf(name, sizeof(name), "%s%s%s", row->of, row->of[0] ? ": " : "", row->metric);
	print_bound(row, bound, sizeof(bound));
	if (has_numbers(row)) {
		(void)snprintf(truth, sizeof(truth), "%" PRIu64, row->truth);
		(void)snprintf(ours, sizeof(ours), "%" PRIu64, row->ours);
		(void)snprintf(difference, sizeof(difference), "%" PRId64,
			       (int64_t)(row->ours - row->truth));
	}
	(void)printf("%-58s %12s %-22s %12s %10s %-18s %-8s %s\n", name, truth, row->source, ours,
		     difference, bound, verdict_names[row->verdict], row->bound);
}

static void print_table(void)
{
	const char *scene = "";

	(void)printf("%-58s %12s %-22s %12s %10s %-18s %-8s\n", "metric", "truth", "(source)",
		     "ours", "difference", "bound", "verdict");
	for (size_t i = 0; i < n_rows; i++) {
		if (strcmp(scene, rows[i].scene) != 0)
			(void)printf("-- %s\n", rows[i].scene);
		scene = rows[i].scene;
		print_row(&rows[i]);
	}
}

/* No text of ours has a quote in it but the reasons; theirs are doubled. */
static void print_quoted(const char *text)
{
	(void)putchar('"');
	for (; *text; text++) {
		if (*text == '"')
			(void)putchar('"');
		(void)putchar(*text);
	}
	(void)putchar('"');
}

static void print_csv(void)
{
	(void)printf("scene,case,metric,source,truth,ours,low,high,verdict,words\n");
	for (size_t i = 0; i < n_rows; i++) {
		const struct row *row = &rows[i];

		(void)printf("%s,", row->scene);
		print_quoted(row->of);
		(void)putchar(',');
		print_quoted(row->metric);
		(void)putchar(',');
		print_quoted(row->source);
		if (has_numbers(row))
			(void)printf(",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64, row->truth,
				     row->ours, row->low, row->high);
		else
			(void)printf(",,,,");
		(void)printf(",%s,", verdict_names[row->verdict]);
		print_quoted(row->bound);
		(void)putchar('\n');
	}
}

static json_t *row_to_json(const struct row *row)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "scene", row->scene, "case",
			      row->of, "metric", row->metric, "source", row->source, "verdict",
			      verdict_names[row->verdict], "words", row->bound);

	assert_non_null(o);
	if (has_numbers(row)) {
		assert_ok(json_object_set_new(o, "truth", json_integer((json_int_t)row->truth)));
		assert_ok(json_object_set_new(o, "ours", json_integer((json_int_t)row->ours)));
		assert_ok(json_object_set_new(o, "low", json_integer((json_int_t)row->low)));
		assert_ok(json_object_set_new(o, "high", json_integer((json_int_t)row->high)));
	}
	return o;
}

static void print_json(void)
{
	json_t *all = json_array();
	struct utsname host;

	assert_non_null(all);
	assert_ok(uname(&host));
	for (size_t i = 0; i < n_rows; i++)
		assert_ok(json_array_append_new(all, row_to_json(&rows[i])));
	all = json_pack("{s:s, s:o}", "kernel", host.release, "rows", all);
	assert_non_null(all);
	assert_ok(json_dumpf(all, stdout, JSON_INDENT(1)));
	(void)putchar('\n');
	json_decref(all);
}

static void print_summary(FILE *to, int broken, int again)
{
	size_t count[_TRUTH_VERDICT_MAX] = {0};
	struct utsname host;

	assert_ok(uname(&host));
	for (size_t i = 0; i < n_rows; i++)
		count[rows[i].verdict]++;
	(void)fprintf(to, "truth on %s: %zu numbers", host.release, n_rows);
	for (size_t i = 0; i < _TRUTH_VERDICT_MAX; i++)
		(void)fprintf(to, ", %zu %s", count[i], verdict_names[i]);
	(void)fprintf(to, "; %d scenes failed", broken);
	if (again > 0)
		(void)fprintf(to, ", %d times one was run again for unseen events", again);
	(void)fprintf(to, "\n");
}

bool truth_print(const char *format, int broken, int again)
{
	bool good = true;

	if (strcmp(format, "json") == 0) {
		print_json();
	} else if (strcmp(format, "csv") == 0) {
		print_csv();
	} else {
		print_table();
	}
	(void)fflush(stdout);
	print_summary(strcmp(format, "table") == 0 ? stdout : stderr, broken, again);
	for (size_t i = 0; i < n_rows; i++)
		good = good && is_right(&rows[i]);
	return good;
}
