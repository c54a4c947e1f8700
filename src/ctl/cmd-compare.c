/* SPDX-License-Identifier: Apache-2.0 */
/* sonde compare: two tasks, or two windows of one */
#include <inttypes.h>
#include <string.h>

#include "base/num.h"
#include "ctl/fetch.h"
#include "ctl/task-time.h"
#include "ctl/view.h"

#define COMPARE_PATH_MAX 4096
#define TIME_TEXT_MAX 64
#define THRESHOLD_MAX_PERCENT 100000

/* "T1..T2", one of which may be missing. */
static int add_window(struct sonde_cli *cli, struct sonde_buf *path, const char *id,
		      const char *window, const char *since, const char *until)
{
	const char *dots = strstr(window, "..");
	const char *const names[] = {since, until};
	char text[2][TIME_TEXT_MAX];
	int status = 0, r = 0;

	if (!dots || (size_t)(dots - window) >= TIME_TEXT_MAX || strlen(dots + 2) >= TIME_TEXT_MAX)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "--window: '%s' is not T1..T2", window);
	(void)snprintf(text[0], TIME_TEXT_MAX, "%.*s", (int)(dots - window), window);
	(void)snprintf(text[1], TIME_TEXT_MAX, "%s", dots + 2);
	for (size_t i = 0; i < 2 && status == 0 && r == 0; i++) {
		char ms[TIME_TEXT_MAX];
		int64_t at_ms;

		status = sonde_cli_task_time(cli, id, "window", text[i], &at_ms);
		(void)snprintf(ms, sizeof(ms), "%" PRId64, at_ms);
		if (status == 0 && at_ms != 0)
			r = sonde_cli_add_parameter(path, names[i], ms);
	}
	return r < 0 ? sonde_cli_broken(cli, r) : status;
}

/* The first --window is A's, the second B's. */
static int add_windows(struct sonde_cli *cli, struct sonde_buf *path, const char *a, const char *b)
{
	size_t n = 0;
	int status = 0;

	for (size_t i = 0; i < cli->n_given && status == 0; i++) {
		if (strcmp(cli->given[i].flag->name, "window") != 0)
			continue;
		if (n == 2)
			return sonde_cli_fail(cli, SONDE_CLI_USAGE, "--window: two at most");
		status =
			n == 0 ? add_window(cli, path, a, cli->given[i].value, "a_since", "a_until")
			       : add_window(cli, path, b, cli->given[i].value, "b_since",
					    "b_until");
		n++;
	}
	if (status == 0 && n < 2 && strcmp(a, b) == 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "one task against itself needs --window T1..T2 twice");
	return status;
}

/* "10%" or "10". */
static int add_threshold(struct sonde_cli *cli, struct sonde_buf *path)
{
	const char *given = sonde_cli_flag(cli, "threshold");
	char text[TIME_TEXT_MAX];
	uint64_t percent;
	size_t n;
	int r;

	if (!given)
		return 0;
	n = strlen(given);
	n -= n > 0 && given[n - 1] == '%' ? 1 : 0;
	(void)snprintf(text, sizeof(text), "%.*s", n < sizeof(text) ? (int)n : 0, given);
	if (sonde_parse_u64(text, 0, THRESHOLD_MAX_PERCENT, &percent) < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--threshold: '%s' is no whole percentage, 0 to %d", given,
				      THRESHOLD_MAX_PERCENT);
	r = sonde_cli_add_parameter(path, "threshold_percent", text);
	return r < 0 ? sonde_cli_broken(cli, r) : 0;
}

static int add_samples(struct sonde_cli *cli, struct sonde_buf *path)
{
	const char *given = sonde_cli_flag(cli, "min-samples");
	uint64_t n;
	int r;

	if (given && sonde_parse_u64(given, 1, 1000000000, &n) < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--min-samples: '%s' is no number of 1 and more", given);
	r = sonde_cli_add_parameter(path, "min_samples", given);
	return r < 0 ? sonde_cli_broken(cli, r) : 0;
}

static int make_path(struct sonde_cli *cli, struct sonde_buf *path)
{
	const char *a = cli->operands[0], *b = cli->operands[cli->n_operands - 1];
	int status, r;

	r = sonde_buf_printf(path, "/api/v1/compare");
	if (r == 0)
		r = sonde_cli_add_parameter(path, "a", a);
	if (r == 0)
		r = sonde_cli_add_parameter(path, "b", b);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	status = add_windows(cli, path, a, b);
	if (status == 0)
		status = add_threshold(cli, path);
	return status == 0 ? add_samples(cli, path) : status;
}

int sonde_cli_compare(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(COMPARE_PATH_MAX);
	int status;

	status = make_path(cli, &path);
	if (status == 0)
		status = sonde_cli_request(cli, sonde_buf_str(&path), NULL, &answer);
	if (status == 0)
		status = sonde_cli_output(cli) == SONDE_CLI_JSON
				 ? sonde_cli_print_json(cli, &answer)
				 : sonde_view_compare(cli, answer.json);
	if (status == 0 && sonde_cli_flag(cli, "exit-code") &&
	    json_integer_value(json_object_get(answer.json, "differences")) > 0)
		return SONDE_CLI_NO;
	return status;
}
