/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/task-time.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "ctl/fetch.h"
#include "ctl/units.h"

/* When the task began: what +10s is behind. */
static int get_start(struct sonde_cli *cli, const char *id, int64_t *ret_ms)
{
	_cleanup_answer_ struct sonde_rest_answer task = SONDE_REST_ANSWER_INIT;
	const char *started;
	int status = sonde_cli_get_task(cli, id, "", &task);

	if (status != 0)
		return status;
	started = json_string_value(json_object_get(task.json, "started"));
	if (!started || sonde_time_parse(started, ret_ms) < 0)
		return sonde_cli_fail(cli, SONDE_CLI_REFUSED, "task %s has not begun", id);
	return 0;
}

int sonde_cli_task_time(struct sonde_cli *cli, const char *id, const char *flag, const char *text,
			int64_t *ret_ms)
{
	uint64_t ns, ms;
	int status;

	*ret_ms = 0;
	if (text[0] == '\0')
		return 0;
	if (sonde_parse_u64(text, 1, INT64_MAX, &ms) == 0) {
		*ret_ms = (int64_t)ms;
		return 0;
	}
	if (text[0] == '+' && (strcmp(text, "+0") == 0 || strcmp(text, "+0s") == 0))
		return get_start(cli, id, ret_ms);
	if (text[0] == '+' && sonde_parse_duration_ns(text + 1, &ns) == 0) {
		status = get_start(cli, id, ret_ms);
		*ret_ms += (int64_t)(ns / SONDE_NS_PER_MS);
		return status;
	}
	if (sonde_time_parse(text, ret_ms) == 0)
		return 0;
	return sonde_cli_fail(cli, SONDE_CLI_USAGE,
			      "--%s: '%s' is no time: RFC 3339, milliseconds since 1970, or "
			      "+10s from the task's start",
			      flag, text);
}

int sonde_cli_add_task_window(struct sonde_cli *cli, struct sonde_buf *path)
{
	static const char *const names[] = {"since", "until"};
	int status = 0, r = 0;

	for (size_t i = 0; i < ELEMENTS_OF(names) && status == 0 && r == 0; i++) {
		const char *text = sonde_cli_flag(cli, names[i]);
		int64_t at_ms = 0;
		char ms[24];

		if (text)
			status = sonde_cli_task_time(cli, cli->operands[0], names[i], text, &at_ms);
		(void)snprintf(ms, sizeof(ms), "%" PRId64, at_ms);
		if (status == 0 && at_ms != 0)
			r = sonde_cli_add_parameter(path, names[i], ms);
	}
	if (status == 0 && r == 0)
		r = sonde_cli_add_parameter(path, "step", sonde_cli_flag(cli, "step"));
	return r < 0 ? sonde_cli_broken(cli, r) : status;
}
