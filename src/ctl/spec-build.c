/* SPDX-License-Identifier: Apache-2.0 */
/* Preset or file, flags and TARGETs -> the request of a command. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/num.h"
#include "ctl/fetch.h"
#include "ctl/spec.h"
#include "ctl/target.h"
#include "ctl/units.h"
#include "ctl/view.h"

#define DEFAULT_PRESET "network"

static bool is_preset_name(const char *name)
{
	for (const char *p = name; *p; p++) {
		if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '-')
			return false;
	}
	return *name && strlen(name) <= 64;
}

int sonde_cli_preset_dirs(const struct sonde_cli *cli, char *dirs[static 3])
{
	static const char *const beside[] = {
		"/../tasks",		 /* build/sonde in the source tree */
		"/../share/sonde/tasks", /* PREFIX/bin/sonde */
	};
	size_t n = 0;

	if (*cli->settings->tasks_dir) {
		dirs[0] = strdup(cli->settings->tasks_dir);
		return dirs[0] ? 0 : -ENOMEM;
	}
	for (size_t i = 0; i < ELEMENTS_OF(beside) && cli->program_dir && *cli->program_dir; i++) {
		if (asprintf(&dirs[n], "%s%s", cli->program_dir, beside[i]) < 0)
			return -ENOMEM;
		n++;
	}
	return 0;
}

static int load_preset(struct sonde_cli *cli, const char *name, struct sonde_spec **ret)
{
	_cleanup_free_ char *first = NULL, *second = NULL, *error = NULL;
	char *dirs[3] = {NULL};
	int r;

	if (!is_preset_name(name))
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--preset: expected a name such as network, got '%.64s'; "
				      "see sonde task presets",
				      name);
	r = sonde_cli_preset_dirs(cli, dirs);
	first = dirs[0];
	second = dirs[1];
	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; dirs[i]; i++) {
		_cleanup_free_ char *path = NULL;

		if (asprintf(&path, "%s/%s.yaml", dirs[i], name) < 0) {
			path = NULL;
			return sonde_cli_broken(cli, -ENOMEM);
		}
		r = sonde_spec_load(path, ret, &error);
		if (r == 0)
			return 0;
		if (r == -ENOENT)
			continue;
		if (r == -EINVAL)
			return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s", error);
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: %s", path, strerror(-r));
	}
	return sonde_cli_fail(cli, SONDE_CLI_NOT_FOUND,
			      "no preset '%s' in %s%s%s; see sonde task presets", name,
			      first ? first : "any folder (see --tasks-dir)", second ? " or " : "",
			      second ? second : "");
}

/* Degrade: what it asks for beside the network is said, and the task goes on. */
static void note_samplings(struct sonde_cli *cli, const char *path, const struct sonde_spec *spec)
{
	if (spec->n_samplings > 0) {
		sonde_cli_note(cli,
			       "%s: no HTTP request is sampled by its %zu rule%s: layer 7 is not "
			       "observed; the task measures the network (preset %s)",
			       path, spec->n_samplings, spec->n_samplings == 1 ? "" : "s",
			       spec->preset);
	}
}

static int load_file(struct sonde_cli *cli, const char *path, struct sonde_spec **ret)
{
	_cleanup_free_ char *error = NULL;
	int r;

	r = sonde_spec_load(path, ret, &error);
	if (r == 0)
		r = sonde_spec_complete(*ret);
	if (r == 0) {
		note_samplings(cli, path, *ret);
		return 0;
	}
	if (r == -ENOMEM)
		return sonde_cli_broken(cli, r);
	if (error)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s", error);
	return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: %s", path, strerror(-r));
}

static int load_base(struct sonde_cli *cli, struct sonde_spec **ret)
{
	const char *preset = sonde_cli_flag(cli, "preset"), *file = sonde_cli_flag(cli, "file");

	if (preset && file)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--preset and --file exclude each other");
	if (file)
		return load_file(cli, file, ret);
	return load_preset(cli, preset ? preset : DEFAULT_PRESET, ret);
}

/* Sets key @key of the file's table from flag --@flag. */
static int override(struct sonde_cli *cli, struct sonde_spec *spec, const char *flag,
		    const char *key)
{
	const char *value = sonde_cli_flag(cli, flag);
	_cleanup_free_ char *error = NULL;
	char where[32];
	int r;

	if (!value)
		return 0;
	(void)snprintf(where, sizeof(where), "--%s", flag);
	r = sonde_config_set(&sonde_spec_file, spec, key, value, where, &error);
	if (r == 0)
		return 0;
	return error ? sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s", error) : sonde_cli_broken(cli, r);
}

/* "14:30" alone: today's is over. */
static bool is_of_tomorrow(const char *at, int64_t now_ms, int64_t start_ms)
{
	time_t now = (time_t)(now_ms / 1000), start = (time_t)(start_ms / 1000);
	struct tm today, day;
	int64_t ms;

	if (*at == '+' || sonde_time_parse(at, &ms) == 0)
		return false;
	return localtime_r(&now, &today) && localtime_r(&start, &day) &&
	       today.tm_yday != day.tm_yday;
}

int sonde_cli_start(struct sonde_cli *cli, int64_t *ret_wall_ms)
{
	const char *at = sonde_cli_flag(cli, "at");
	const int64_t now_ms = sonde_wall_ms();

	assert(at && ret_wall_ms);

	if (sonde_spec_start(at, now_ms, ret_wall_ms) < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--at: expected RFC 3339, HH:MM[:SS] or +5m, got '%.64s'",
				      at);
	if (is_of_tomorrow(at, now_ms, *ret_wall_ms))
		sonde_cli_note(cli,
			       "--at %s is over today: tomorrow, in %" PRId64 " h %" PRId64 " min",
			       at, (*ret_wall_ms - now_ms) / 3600000,
			       (*ret_wall_ms - now_ms) / 60000 % 60);
	return 0;
}

static int override_all(struct sonde_cli *cli, struct sonde_spec *spec)
{
	static const struct {
		const char *flag, *key;
	} rows[] = {
		{"duration", "duration"},
		{"interval", "reportInterval"},
		{"name", "name"},
		{"max-peers", "limits.maxPeers"},
		{"max-cpu", "limits.maxCpuPercent"},
		{"max-memory", "limits.maxMemoryBytes"},
		{"max-events", "limits.maxEventsPerSecond"},
	};
	int64_t start_ms;
	int status;

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		status = override(cli, spec, rows[i].flag, rows[i].key);
		if (status != 0)
			return status;
	}
	if (sonde_cli_flag(cli, "duration"))
		spec->duration_ms = 0;
	if (sonde_cli_flag(cli, "interval"))
		spec->report_interval_ms = 0;
	if (sonde_cli_flag(cli, "execution-time"))
		spec->execution_time = spec->execution_time_said = true;
	if (sonde_cli_flag(cli, "no-flows"))
		spec->without_flows = spec->without_flows_said = true;
	if (sonde_cli_flag(cli, "stop-at-max-peers"))
		spec->stop_at_max_peers = true;
	if (!sonde_cli_flag(cli, "at"))
		return 0;
	status = sonde_cli_start(cli, &start_ms);
	if (status == 0)
		spec->start_wall_ms = (uint64_t)start_ms;
	return status;
}

static int explain_word(struct sonde_cli *cli, const char *text, struct sonde_target *target,
			struct sonde_rest_answer *answer)
{
	const char *near;
	json_t *targets;
	int r;

	if (!answer->json) { /* asked once for all words */
		r = sonde_cli_request(cli, "/api/v1/targets", NULL, answer);
		if (r != 0)
			return r;
	}
	targets = json_object_get(answer->json, "targets");
	r = sonde_target_resolve(target, targets);
	if (r == 0)
		return 0;
	if (r == -ENOTUNIQ)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "'%s' is a service and the name of other processes: say "
				      "service:%s or process:%s",
				      text, text, text);
	near = sonde_target_hint(text, targets);
	return sonde_cli_fail(cli, SONDE_CLI_NOT_FOUND,
			      "no agent reports a service or process '%s'%s%s%s", text,
			      near ? "; did you mean '" : "; see sonde targets list",
			      near ? near : "", near ? "'?" : "");
}

int sonde_cli_add_targets(struct sonde_cli *cli, size_t first, json_t *list)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const char *agent = sonde_cli_flag(cli, "agent");

	for (size_t i = first; i < cli->n_operands; i++) {
		const char *text = cli->operands[i], *words;
		struct sonde_target target;

		if (sonde_target_parse(text, &target, &words) < 0)
			return sonde_cli_fail(cli, SONDE_CLI_USAGE, "target '%.64s': %s", text,
					      words);
		if (target.kind == SONDE_TARGET_WORD) {
			int status = explain_word(cli, text, &target, &answer);

			if (status != 0)
				return status;
		}
		if (sonde_target_append(&target, agent, list) < 0)
			return sonde_cli_broken(cli, -ENOMEM);
	}
	return 0;
}

static int finish(struct sonde_cli *cli, const struct sonde_spec *spec, json_t **ret)
{
	json_t *object, *list;
	int status;

	if (sonde_spec_json(spec, &object) < 0)
		return sonde_cli_broken(cli, -ENOMEM);
	list = json_object_get(object, "targets");
	if (cli->n_operands > 0)
		(void)json_array_clear(list);
	status = sonde_cli_add_targets(cli, 0, list);
	if (status == 0 && json_array_size(list) == 0)
		status = sonde_cli_fail(
			cli, SONDE_CLI_USAGE,
			"expected a TARGET, such as service:shop; see sonde targets list");
	if (status != 0) {
		json_decref(object);
		return status;
	}
	*ret = object;
	return 0;
}

int sonde_cli_build_spec(struct sonde_cli *cli, json_t **ret)
{
	_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
	int status;

	status = load_base(cli, &spec);
	if (status == 0)
		status = override_all(cli, spec);
	if (status != 0)
		return status;
	return finish(cli, spec, ret);
}

int sonde_cli_send_spec(struct sonde_cli *cli, json_t *spec, struct sonde_rest_answer *ret,
			const char **ret_id)
{
	_cleanup_free_ char *body = json_dumps(spec, JSON_COMPACT);
	char text[SONDE_UNIT_MAX];
	int64_t start_ms;
	const char *id;
	int status;

	json_decref(spec);
	if (!body)
		return sonde_cli_broken(cli, -ENOMEM);
	status = sonde_cli_request(cli, "/api/v1/tasks", body, ret);
	if (status != 0)
		return status;
	id = json_string_value(json_object_get(ret->json, "id"));
	if (!id)
		return sonde_cli_fail(cli, SONDE_CLI_INTERNAL, "the server gave no task id");
	*ret_id = id;
	if (sonde_view_starts_at(ret->json, &start_ms))
		sonde_cli_note(cli, "task %s starts at %s", id,
			       sonde_time_local(start_ms, cli->settings->utc, text));
	return 0;
}

int sonde_cli_send_and_tell(struct sonde_cli *cli, json_t *spec)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const char *id;
	int status;

	status = sonde_cli_send_spec(cli, spec, &answer, &id);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	sonde_view_text(cli, id);
	(void)fputc('\n', cli->out);
	return SONDE_CLI_OK;
}
