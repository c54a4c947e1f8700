/* SPDX-License-Identifier: Apache-2.0 */
/* sonde task delete, clone */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "ctl/fetch.h"
#include "ctl/spec.h"
#include "ctl/view.h"

static int delete_one(struct sonde_cli *cli, const char *id)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(4096);
	int r, status;

	r = sonde_cli_task_path(id, "", &path);
	if (r < 0)
		return sonde_cli_no_task_path(cli, id, r);
	status = sonde_cli_send(cli, "DELETE", sonde_buf_str(&path), NULL, &answer);
	if (status == 0)
		sonde_cli_note(cli, "task %s is deleted", id);
	return status;
}

/* All of them; the first fault is the exit status. */
int sonde_cli_task_delete(struct sonde_cli *cli)
{
	int status = SONDE_CLI_OK;

	for (size_t i = 0; i < cli->n_operands; i++) {
		int one = delete_one(cli, cli->operands[i]);

		if (one == SONDE_CLI_UNREACHABLE)
			return one;
		status = status ? status : one;
	}
	return status;
}

static int set_ms(struct sonde_cli *cli, json_t *spec, const char *flag, const char *key)
{
	const char *text = sonde_cli_flag(cli, flag);
	uint64_t ns;

	if (!text)
		return 0;
	if (sonde_parse_duration_ns(text, &ns) < 0 || ns < SONDE_NS_PER_MS ||
	    ns / SONDE_NS_PER_MS > INT64_MAX)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--%s: expected a duration such as 30s, got '%.64s'", flag,
				      text);
	if (json_object_set_new(spec, key, json_integer((json_int_t)(ns / SONDE_NS_PER_MS))) < 0)
		return sonde_cli_broken(cli, -ENOMEM);
	return 0;
}

static int set_start(struct sonde_cli *cli, json_t *spec)
{
	int64_t start_ms = 0;
	int status = sonde_cli_flag(cli, "at") ? sonde_cli_start(cli, &start_ms) : 0;

	if (status != 0)
		return status;
	/* the other one's start is over */
	return json_object_set_new(spec, "startWallMs", json_integer(start_ms)) < 0
		       ? sonde_cli_broken(cli, -ENOMEM)
		       : 0;
}

static int set_targets(struct sonde_cli *cli, json_t *spec)
{
	json_t *list;

	if (cli->n_operands == 1)
		return 0;
	list = json_array();
	if (!list || json_object_set_new(spec, "targets", list) < 0)
		return sonde_cli_broken(cli, -ENOMEM);
	return sonde_cli_add_targets(cli, 1, list);
}

static int change(struct sonde_cli *cli, json_t *spec)
{
	const char *name = sonde_cli_flag(cli, "name");
	int status;

	(void)json_object_del(spec, "id");
	(void)json_object_del(spec, "createdBy");
	if (name && json_object_set_new(spec, "name", json_string(name)) < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "--name: expected UTF-8");
	status = set_ms(cli, spec, "duration", "durationMs");
	if (status == 0)
		status = set_ms(cli, spec, "interval", "reportIntervalMs");
	if (status == 0)
		status = set_start(cli, spec);
	return status == 0 ? set_targets(cli, spec) : status;
}

/* The same task once more: its whole request, with what the flags and TARGETs say instead. */
int sonde_cli_task_clone(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer task = SONDE_REST_ANSWER_INIT;
	json_t *spec;
	int status;

	status = sonde_cli_get_task(cli, cli->operands[0], "", &task);
	if (status != 0)
		return status;
	spec = json_deep_copy(json_object_get(task.json, "spec"));
	if (!json_is_object(spec)) {
		json_decref(spec);
		return sonde_cli_fail(cli, SONDE_CLI_INTERNAL,
				      "the server does not tell what task %s asked for",
				      cli->operands[0]);
	}
	status = change(cli, spec);
	if (status != 0) {
		json_decref(spec);
		return status;
	}
	return sonde_cli_send_and_tell(cli, spec); /* takes it */
}
