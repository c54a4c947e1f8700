/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/spec.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/num.h"
#include "config/yaml.h"
#include "ctl/units.h"
#include "model/signal.h"
#include "model/task.h"

#define OAP_DURATION_MS 600000

static const struct sonde_option target_options[] = {
	SONDE_OPTION_STRING(struct sonde_spec_target, "processId", process_id, NULL, "255",
			    "one process, by its SkyWalking process id"),
	SONDE_OPTION_UINT(struct sonde_spec_target, "pid", pid, "0", NULL, "2147483647",
			  "one process, by its pid as the agent sees it"),
	SONDE_OPTION_STRING(struct sonde_spec_target, "processName", process_name, NULL, "255",
			    "every process that is reported under this name"),
	SONDE_OPTION_STRING(struct sonde_spec_target, "service", service, NULL, "255",
			    "every process of this service"),
	SONDE_OPTION_STRING(struct sonde_spec_target, "agentId", agent_id, NULL, "255",
			    "only processes of this agent; empty = of any"),
	{0},
};

static const struct sonde_option sampling_options[] = {
	SONDE_OPTION_STRING(struct sonde_spec_sampling, "uri_pattern", uri_pattern, NULL, "1024",
			    "URIs, as a regular expression; empty = all"),
	SONDE_OPTION_UINT(struct sonde_spec_sampling, "min_duration", min_duration, "0", NULL, NULL,
			  "milliseconds that a request takes at least"),
	SONDE_OPTION_BOOL(struct sonde_spec_sampling, "when_4xx", when_4xx, "false",
			  "answers of status 400 to 499"),
	SONDE_OPTION_BOOL(struct sonde_spec_sampling, "when_5xx", when_5xx, "false",
			  "answers of status 500 to 599"),
	SONDE_OPTION_BOOL(struct sonde_spec_sampling, "setting.require_request", require_request,
			  "false", "with the request"),
	SONDE_OPTION_UINT(struct sonde_spec_sampling, "setting.max_request_size", max_request_size,
			  "0", NULL, NULL, "bytes of it at most; 0 = all"),
	SONDE_OPTION_BOOL(struct sonde_spec_sampling, "setting.require_response", require_response,
			  "false", "with the response"),
	SONDE_OPTION_UINT(struct sonde_spec_sampling, "setting.max_response_size",
			  max_response_size, "0", NULL, NULL, "bytes of it at most; 0 = all"),
	{0},
};

static const struct sonde_option spec_options[] = {
	SONDE_OPTION_STRING(struct sonde_spec, "name", name, NULL, "128", "a name for people"),
	SONDE_OPTION_STRING(struct sonde_spec, "preset", preset, NULL, "64",
			    "the preset that this task follows; shown with it"),
	SONDE_OPTION_LIST(struct sonde_spec, "targets", targets, n_targets, target_options, "256",
			  "what is profiled; the command line's TARGETs go instead of them"),
	SONDE_OPTION_UINT(struct sonde_spec, "startWallMs", start_wall_ms, "0", NULL,
			  "253402300799000", "start in milliseconds since 1970 UTC; 0 = now"),
	SONDE_OPTION_DURATION(struct sonde_spec, "duration", duration_ns, NULL, "1s", "30m",
			      "how long it runs; the node's policy may allow less"),
	SONDE_OPTION_UINT(struct sonde_spec, "durationMs", duration_ms, NULL, "1000", "1800000",
			  "the same in milliseconds"),
	SONDE_OPTION_DURATION(struct sonde_spec, "reportInterval", report_interval_ns, NULL,
			      "100ms", "1m", "how often the agent reports (2s if not said)"),
	SONDE_OPTION_UINT(struct sonde_spec, "reportIntervalMs", report_interval_ms, NULL, "100",
			  "60000", "the same in milliseconds"),
	SONDE_OPTION_STRINGS(struct sonde_spec, "collectors", collectors, NULL, "8",
			     "what looks: tcp (the default)"),
	SONDE_OPTION_BOOL(struct sonde_spec, "options.executionTime", execution_time, NULL,
			  "time each send and receive call; costs more",
			  .said_offset = offsetof(struct sonde_spec, execution_time_said)),
	SONDE_OPTION_BOOL(struct sonde_spec, "options.withoutFlows", without_flows, NULL,
			  "no connections one by one, only what is counted per peer",
			  .said_offset = offsetof(struct sonde_spec, without_flows_said)),
	SONDE_OPTION_STRINGS(struct sonde_spec, "options.signals", signals, NULL, "16",
			     "what is measured; all that the collectors have, if not said"),
	SONDE_OPTION_UINT(
		struct sonde_spec, "limits.maxPeers", max_peers, "0", NULL, "1048576",
		"cells that the task may take; 0 = 4096, or what the node's policy allows"),
	SONDE_OPTION_BOOL(struct sonde_spec, "limits.stopAtMaxPeers", stop_at_max_peers, "false",
			  "end the task there, instead of adding further peers to `other`"),
	SONDE_OPTION_UINT(struct sonde_spec, "limits.maxCpuPercent", max_cpu_percent, "0", NULL,
			  "102400",
			  "percent of one core that Sonde may take on the machine; beyond "
			  "it the task ends; 0 = no limit"),
	SONDE_OPTION_BYTES(struct sonde_spec, "limits.maxMemoryBytes", max_memory_bytes, "0", NULL,
			   "1TiB", "memory of maps and processes that it may take; 0 = no limit"),
	SONDE_OPTION_UINT(struct sonde_spec, "limits.maxEventsPerSecond", max_events_per_second,
			  "0", NULL, NULL, "runs of programs; 0 = no limit"),
	SONDE_OPTION_LIST(struct sonde_spec, "samplings", samplings, n_samplings, sampling_options,
			  "64", "rules of swctl's sampling.yaml: read, and not measured by"),
	{0},
};

static int check_target(size_t i, const struct sonde_spec_target *t, char **ret_error)
{
	int named = (*t->process_id != '\0') + (t->pid != 0) + (*t->process_name != '\0') +
		    (*t->service != '\0');

	if (named == 1)
		return 0;
	if (asprintf(
		    ret_error,
		    "key 'targets[%zu]': expected one of processId, pid, processName, service, got %d",
		    i, named) < 0)
		return -ENOMEM;
	return -EINVAL;
}

static int check_signals(char *const *names, char **ret_error)
{
	char known[SONDE_SIGNALS_NAMES_MAX];
	enum sonde_signal s;

	for (; names && *names; names++) {
		if (sonde_signal_from_name(*names, &s) == 0)
			continue;
		if (asprintf(ret_error, "key 'options.signals': expected some of %s, got '%.40s'",
			     sonde_signals_names(SONDE_SIGNALS_ALL, known, sizeof(known)),
			     *names) < 0)
			return -ENOMEM;
		return -EINVAL;
	}
	return 0;
}

static int check(const void *config, char **ret_error)
{
	const struct sonde_spec *spec = config;
	const char *twice = NULL;

	if (spec->duration_ms && spec->duration_ns)
		twice = "duration";
	if (spec->report_interval_ms && spec->report_interval_ns)
		twice = "reportInterval";
	if (twice) {
		if (asprintf(ret_error, "expected %s or %sMs, got both", twice, twice) < 0)
			return -ENOMEM;
		return -EINVAL;
	}
	for (size_t i = 0; i < spec->n_targets; i++) {
		int r = check_target(i, &spec->targets[i], ret_error);

		if (r < 0)
			return r;
	}
	return check_signals(spec->signals, ret_error);
}

const struct sonde_config_spec sonde_spec_file = {
	.program = "task",
	.summary = "A task file",
	.size = sizeof(struct sonde_spec),
	.options = spec_options,
	.check = check,
};

struct sonde_spec *sonde_spec_free(struct sonde_spec *spec)
{
	return sonde_config_free(&sonde_spec_file, spec);
}

int sonde_spec_parse(const char *text, size_t len, const char *name, struct sonde_spec **ret,
		     char **ret_error)
{
	void *config;
	int r;

	r = sonde_config_parse(&sonde_spec_file, text, len, name, &config, ret_error);
	if (r < 0)
		return r;
	*ret = config;
	return 0;
}

int sonde_spec_complete(struct sonde_spec *spec)
{
	assert(spec);

	if (spec->n_samplings == 0 || *spec->preset)
		return 0;
	free(spec->preset);
	spec->preset = strdup("network-calls");
	if (!spec->preset)
		return -ENOMEM;
	if (!spec->duration_ms && !spec->duration_ns)
		spec->duration_ms = OAP_DURATION_MS;
	return 0;
}

int sonde_spec_load(const char *path, struct sonde_spec **ret, char **ret_error)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (strcmp(path, "-") == 0)
		r = sonde_yaml_read_fd(STDIN_FILENO, SONDE_CONFIG_FILE_MAX, &text, &len);
	else
		r = sonde_yaml_read_file(path, SONDE_CONFIG_FILE_MAX, &text, &len);
	if (r < 0)
		return r;
	return sonde_spec_parse(text, len, strcmp(path, "-") == 0 ? "stdin" : path, ret, ret_error);
}

/* Adds text that is not empty, a number that is not 0. Proto3 JSON leaves defaults out. */
static int put_text(json_t *object, const char *key, const char *text)
{
	return *text ? json_object_set_new(object, key, json_string(text)) : 0;
}

static int put_number(json_t *object, const char *key, uint64_t number)
{
	return number ? json_object_set_new(object, key, json_integer((json_int_t)number)) : 0;
}

static int append_target(json_t *list, const struct sonde_spec_target *t)
{
	json_t *entry = json_object();

	if (put_text(entry, "processId", t->process_id) < 0 ||
	    put_number(entry, "pid", t->pid) < 0 ||
	    put_text(entry, "processName", t->process_name) < 0 ||
	    put_text(entry, "service", t->service) < 0 ||
	    put_text(entry, "agentId", t->agent_id) < 0) {
		json_decref(entry);
		return -1;
	}
	return json_array_append_new(list, entry);
}

static int put_targets(json_t *object, const struct sonde_spec *spec)
{
	json_t *list = json_array();

	for (size_t i = 0; i < spec->n_targets; i++) {
		if (append_target(list, &spec->targets[i]) < 0) {
			json_decref(list);
			return -1;
		}
	}
	return json_object_set_new(object, "targets", list);
}

/* An empty list is as good as none. */
static int put_names(json_t *object, const char *key, char *const *names)
{
	json_t *list;

	if (!names || !names[0])
		return 0;
	list = json_array();
	for (size_t i = 0; names[i]; i++) {
		if (json_array_append_new(list, json_string(names[i])) < 0) {
			json_decref(list);
			return -1;
		}
	}
	return json_object_set_new(object, key, list);
}

/* Only what was said: the rest is for the preset to say, which the server has. */
static int put_options(json_t *object, const struct sonde_spec *spec)
{
	json_t *options = json_object();

	if ((spec->execution_time_said &&
	     json_object_set_new(options, "executionTime", json_boolean(spec->execution_time)) <
		     0) ||
	    (spec->without_flows_said &&
	     json_object_set_new(options, "withoutFlows", json_boolean(spec->without_flows)) < 0) ||
	    put_names(options, "signals", spec->signals) < 0) {
		json_decref(options);
		return -1;
	}
	if (json_object_size(options) > 0)
		return json_object_set_new(object, "options", options);
	json_decref(options);
	return 0;
}

static int put_limits(json_t *object, const struct sonde_spec *spec)
{
	json_t *limits = json_object();

	if (put_number(limits, "maxPeers", spec->max_peers) < 0 ||
	    (spec->stop_at_max_peers &&
	     json_object_set_new(limits, "stopAtMaxPeers", json_true()) < 0) ||
	    put_number(limits, "maxCpuPercent", spec->max_cpu_percent) < 0 ||
	    put_number(limits, "maxMemoryBytes", spec->max_memory_bytes) < 0 ||
	    put_number(limits, "maxEventsPerSecond", spec->max_events_per_second) < 0) {
		json_decref(limits);
		return -1;
	}
	if (json_object_size(limits) > 0)
		return json_object_set_new(object, "limits", limits);
	json_decref(limits);
	return 0;
}

static int put_extras(json_t *object, const struct sonde_spec *spec)
{
	if (put_options(object, spec) < 0)
		return -1;
	return put_limits(object, spec);
}

int sonde_spec_json(const struct sonde_spec *spec, json_t **ret)
{
	uint64_t duration_ms = spec->duration_ms + spec->duration_ns / SONDE_NS_PER_MS;
	uint64_t interval_ms =
		spec->report_interval_ms + spec->report_interval_ns / SONDE_NS_PER_MS;
	json_t *object = json_object();

	if (put_text(object, "name", spec->name) < 0 ||
	    put_text(object, "preset", spec->preset) < 0 || put_targets(object, spec) < 0 ||
	    put_number(object, "startWallMs", spec->start_wall_ms) < 0 ||
	    put_number(object, "durationMs", duration_ms) < 0 ||
	    put_number(object, "reportIntervalMs", interval_ms) < 0 ||
	    put_names(object, "collectors", spec->collectors) < 0 || put_extras(object, spec) < 0 ||
	    put_text(object, "createdBy", "cli") < 0) {
		json_decref(object);
		return -ENOMEM;
	}
	*ret = object;
	return 0;
}

/* "14:30" or "14:30:15", today or tomorrow. */
static int start_clock(const char *text, int64_t now_wall_ms, int64_t *ret_wall_ms)
{
	time_t now = (time_t)(now_wall_ms / 1000), t;
	struct tm tm = {0}, at = {0};
	const char *rest;

	rest = strptime(text, "%H:%M:%S", &at);
	if (!rest || *rest) {
		at = (struct tm){0};
		rest = strptime(text, "%H:%M", &at);
	}
	if (!rest || *rest || !localtime_r(&now, &tm))
		return -EINVAL;
	tm.tm_hour = at.tm_hour;
	tm.tm_min = at.tm_min;
	tm.tm_sec = at.tm_sec;
	tm.tm_isdst = -1;
	t = mktime(&tm);
	if (t < now) {
		tm.tm_mday++; /* mktime() carries it over months */
		tm.tm_isdst = -1;
		t = mktime(&tm);
	}
	if (t < now)
		return -EINVAL;
	*ret_wall_ms = (int64_t)t * 1000;
	return 0;
}

int sonde_spec_start(const char *text, int64_t now_wall_ms, int64_t *ret_wall_ms)
{
	uint64_t ns;

	assert(text && ret_wall_ms);

	if (*text == '+') {
		/* a year ahead is a typing error */
		if (sonde_parse_duration_ns(text + 1, &ns) < 0 ||
		    ns > 366ULL * 24 * 3600 * SONDE_NS_PER_S)
			return -EINVAL;
		*ret_wall_ms = now_wall_ms + (int64_t)(ns / SONDE_NS_PER_MS);
		return 0;
	}
	if (sonde_time_parse(text, ret_wall_ms) == 0)
		return 0;
	return start_clock(text, now_wall_ms, ret_wall_ms);
}
