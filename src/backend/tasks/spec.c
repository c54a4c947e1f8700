/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/tasks/spec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "base/num.h"
#include "base/utf8.h"
#include "model/preset.h"
#include "model/signal.h"

/* By bit of SONDE_SPEC_COLLECT_*. */
static const char *const collectors[] = {"tcp", "udp"};

struct reader {
	struct sonde_problem *problem;
	char prefix[32]; /* "targets[3]." */
};

/* A key in proto3 JSON may be written lowerCamel or as in the .proto file. */
struct name {
	const char *camel, *snake;
};

static int refuse(const struct reader *rd, const char *key, const char *words)
{
	char field[96];

	(void)snprintf(field, sizeof(field), "%s%s", rd->prefix, key);
	return sonde_problem_set(rd->problem, 400, field, "%s: %s", field, words);
}

static const json_t *get(const json_t *object, struct name name)
{
	const json_t *j = json_object_get(object, name.camel);

	j = j ? j : json_object_get(object, name.snake);
	return json_is_null(j) ? NULL : j;
}

static int refuse_unknown(const struct reader *rd, const json_t *object, const struct name *known,
			  size_t n_known)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		bool found = false;

		for (size_t i = 0; i < n_known && !found; i++)
			found = strcmp(key, known[i].camel) == 0 ||
				strcmp(key, known[i].snake) == 0;
		if (!found)
			return refuse(rd, key, "no such field");
	}
	for (size_t i = 0; i < n_known; i++) {
		if (strcmp(known[i].camel, known[i].snake) != 0 &&
		    json_object_get(object, known[i].camel) &&
		    json_object_get(object, known[i].snake))
			return refuse(rd, known[i].camel, "given twice, in both spellings");
	}
	return 0;
}

static int read_text(const struct reader *rd, const json_t *object, struct name name, char *ret,
		     size_t size)
{
	const json_t *j = get(object, name);
	const char *text;
	char words[64];

	ret[0] = '\0';
	if (!j)
		return 0;
	text = json_string_value(j);
	if (!text)
		return refuse(rd, name.camel, "must be a string");
	if (strlen(text) != json_string_length(j) || sonde_has_control(text))
		return refuse(rd, name.camel, "must not hold control characters");
	if (strlen(text) >= size) {
		(void)snprintf(words, sizeof(words), "at most %zu bytes", size - 1);
		return refuse(rd, name.camel, words);
	}
	memcpy(ret, text, strlen(text) + 1);
	return 0;
}

struct range {
	int64_t min, max;
	int64_t fallback; /* of 0 and of nothing: proto3 cannot tell them apart */
};

/* Proto3 JSON writes 64-bit numbers as strings and takes both. */
static int read_int(const struct reader *rd, const json_t *object, struct name name,
		    struct range range, int64_t *ret)
{
	const json_t *j = get(object, name);
	int64_t value = 0;
	char words[96];

	if (json_is_integer(j))
		value = json_integer_value(j);
	else if (j && (!json_is_string(j) ||
		       sonde_parse_i64(json_string_value(j), INT64_MIN, INT64_MAX, &value) < 0))
		return refuse(rd, name.camel, "must be a whole number");
	if (value == 0)
		value = range.fallback;
	if (value < range.min || value > range.max) {
		(void)snprintf(words, sizeof(words), "must be %lld to %lld", (long long)range.min,
			       (long long)range.max);
		return refuse(rd, name.camel, words);
	}
	*ret = value;
	return 0;
}

static int read_bool(const struct reader *rd, const json_t *object, struct name name, bool *ret)
{
	const json_t *j = get(object, name);

	if (j && !json_is_boolean(j))
		return refuse(rd, name.camel, "must be true or false");
	*ret = json_is_true(j);
	return 0;
}

static int read_target(struct reader *rd, const json_t *j, struct sonde_spec_target *t)
{
	static const struct name known[] = {{"processId", "process_id"},
					    {"pid", "pid"},
					    {"processName", "process_name"},
					    {"service", "service"},
					    {"agentId", "agent_id"}};
	int64_t pid = 0;
	unsigned n;
	int r;

	r = refuse_unknown(rd, j, known, ELEMENTS_OF(known));
	if (r == 0)
		r = read_text(rd, j, known[0], t->process_id, sizeof(t->process_id));
	if (r == 0)
		r = read_int(rd, j, known[1], (struct range){0, INT32_MAX, 0}, &pid);
	if (r == 0)
		r = read_text(rd, j, known[2], t->process_name, sizeof(t->process_name));
	if (r == 0)
		r = read_text(rd, j, known[3], t->service, sizeof(t->service));
	if (r == 0)
		r = read_text(rd, j, known[4], t->agent_id, sizeof(t->agent_id));
	if (r < 0)
		return r;
	t->pid = (int32_t)pid;
	n = (t->process_id[0] != '\0') + (t->pid != 0) + (t->process_name[0] != '\0') +
	    (t->service[0] != '\0');
	rd->prefix[strlen(rd->prefix) - 1] =
		'\0'; /* from here on the target itself, without the dot */
	return n == 1 ? 0
		      : refuse(rd, "",
			       "exactly one of processId, pid, processName and service is needed");
}

static int read_targets(struct reader *rd, const json_t *root, struct sonde_spec *s)
{
	const json_t *list = json_object_get(root, "targets");
	size_t n = json_array_size(list);
	int r;

	if (list && !json_is_array(list))
		return refuse(rd, "targets", "must be a list");
	if (n == 0)
		return refuse(rd, "targets", "at least one is needed");
	if (n > SONDE_TASK_TARGETS_MAX)
		return refuse(rd, "targets", "too many of them");
	s->targets = calloc(n, sizeof(*s->targets));
	if (!s->targets)
		return -ENOMEM;
	s->n_targets = n;
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(list, i);

		(void)snprintf(rd->prefix, sizeof(rd->prefix), "targets[%zu]", i);
		if (!json_is_object(item))
			return refuse(rd, "", "must be an object");
		(void)snprintf(rd->prefix, sizeof(rd->prefix), "targets[%zu].", i);
		r = read_target(rd, item, &s->targets[i]);
		if (r < 0)
			return r;
	}
	rd->prefix[0] = '\0';
	return 0;
}

/* @preset: what the task leaves open is as it says. */
static int read_collectors(const struct reader *rd, const json_t *root,
			   const struct sonde_preset *preset, struct sonde_spec *s)
{
	const json_t *list = json_object_get(root, "collectors");

	if (list && !json_is_array(list))
		return refuse(rd, "collectors", "must be a list");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));

		unsigned bit = 0;

		for (size_t k = 0; name && k < ELEMENTS_OF(collectors); k++)
			bit |= strcmp(name, collectors[k]) == 0 ? 1U << k : 0;
		if (!bit)
			return refuse(rd, "collectors", "known ones are: tcp, udp");
		s->collectors |= bit;
	}
	if (!s->collectors)
		s->collectors = preset->collectors;
	return 0;
}

/* Return: 0, also where there is no list, -EINVAL. */
static int read_signals(const struct reader *rd, const json_t *options, uint32_t *ret)
{
	const json_t *list = json_object_get(options, "signals");
	char names[SONDE_SIGNALS_NAMES_MAX], words[SONDE_SIGNALS_WORDS_MAX];
	uint32_t mask = 0;

	if (list && !json_is_array(list) && !json_is_null(list))
		return refuse(rd, "signals", "must be a list");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));
		enum sonde_signal s;

		if (!name || sonde_signal_from_name(name, &s) < 0) {
			(void)snprintf(
				words, sizeof(words), "known ones are: %s",
				sonde_signals_names(SONDE_SIGNALS_ALL, names, sizeof(names)));
			return refuse(rd, "signals", words);
		}
		mask |= SONDE_SIGNAL_BIT(s);
	}
	*ret = mask;
	return 0;
}

/* A preset's own selection is of the collectors that it names: of others, only what they have. */
static uint32_t preset_signals(const struct sonde_preset *preset, const struct sonde_spec *s)
{
	return preset->signals & sonde_signals_of(s->collectors);
}

static int check_signals(const struct reader *rd, const struct sonde_spec *s)
{
	char words[SONDE_SIGNALS_WORDS_MAX];

	if (sonde_signals_check(s->signals, s->collectors, s->execution_time, words) < 0)
		return refuse(rd, "signals", words);
	return 0;
}

static int read_options(struct reader *rd, const json_t *root, const struct sonde_preset *preset,
			struct sonde_spec *s)
{
	static const struct name known[] = {{"executionTime", "execution_time"},
					    {"withoutFlows", "without_flows"},
					    {"signals", "signals"}};
	const json_t *o = json_object_get(root, "options");
	int r;

	if (o && !json_is_object(o))
		return refuse(rd, "options", "must be an object");
	memcpy(rd->prefix, "options.", sizeof("options."));
	r = refuse_unknown(rd, o, known, ELEMENTS_OF(known));
	if (r == 0)
		r = read_bool(rd, o, known[0], &s->execution_time);
	if (r == 0)
		r = read_bool(rd, o, known[1], &s->without_flows);
	if (r == 0)
		r = read_signals(rd, o, &s->signals);
	if (r == 0 && !get(o, known[0]))
		s->execution_time = preset->execution_time;
	if (r == 0 && !get(o, known[1]))
		s->without_flows = preset->without_flows;
	if (r == 0 && !s->signals)
		s->signals = preset_signals(preset, s);
	if (r == 0)
		r = check_signals(rd, s);
	rd->prefix[0] = '\0';
	return r;
}

static int read_limits(struct reader *rd, const json_t *root, struct sonde_spec *s)
{
	static const struct name known[] = {{"maxPeers", "max_peers"},
					    {"stopAtMaxPeers", "stop_at_max_peers"},
					    {"maxCpuPercent", "max_cpu_percent"},
					    {"maxMemoryBytes", "max_memory_bytes"},
					    {"maxEventsPerSecond", "max_events_per_second"}};
	static const struct range ranges[] = {{0, SONDE_SPEC_PEERS_MAX, 0},
					      {0, 0, 0},
					      {0, SONDE_TASK_CPU_PERCENT_MAX, 0},
					      {0, INT64_MAX, 0},
					      {0, INT64_MAX, 0}};
	const json_t *l = json_object_get(root, "limits");
	struct sonde_task_limits *limits = &s->limits;
	int64_t n[ELEMENTS_OF(known)] = {0};
	int r;

	if (l && !json_is_object(l))
		return refuse(rd, "limits", "must be an object");
	memcpy(rd->prefix, "limits.", sizeof("limits."));
	r = refuse_unknown(rd, l, known, ELEMENTS_OF(known));
	if (r == 0)
		r = read_bool(rd, l, known[1], &limits->stop_at_max_peers);
	for (size_t i = 0; i < ELEMENTS_OF(known) && r == 0; i++) {
		if (i != 1)
			r = read_int(rd, l, known[i], ranges[i], &n[i]);
	}
	if (r == 0 && n[3] && n[3] < SONDE_TASK_MEMORY_MIN_BYTES)
		r = refuse(rd, known[3].camel, "must be 0 or at least 4194304");
	limits->max_peers = (uint32_t)n[0];
	limits->max_cpu_percent = (uint32_t)n[2];
	limits->max_memory_bytes = (uint64_t)n[3];
	limits->max_events_per_second = (uint64_t)n[4];
	rd->prefix[0] = '\0';
	return r;
}

static int read_times(const struct reader *rd, const json_t *root, int64_t now_ms,
		      int64_t max_duration_ms, bool stored, struct sonde_spec *s)
{
	const struct range start = {0, stored ? INT64_MAX : now_ms + SONDE_SPEC_START_AHEAD_MAX_MS,
				    0};
	const struct range duration = {SONDE_TASK_DURATION_MIN_MS,
				       stored ? INT64_MAX / 2 : max_duration_ms, 0};
	const struct range interval = {SONDE_SPEC_INTERVAL_MIN_MS, SONDE_SPEC_INTERVAL_MAX_MS,
				       SONDE_TASK_REPORT_INTERVAL_DEFAULT_MS};
	int r;

	r = read_int(rd, root, (struct name){"startWallMs", "start_wall_ms"}, start,
		     &s->start_wall_ms);
	if (r == 0)
		r = read_int(rd, root, (struct name){"durationMs", "duration_ms"}, duration,
			     &s->duration_ms);
	if (r == 0)
		r = read_int(rd, root, (struct name){"reportIntervalMs", "report_interval_ms"},
			     interval, &s->report_interval_ms);
	if (r == 0 && !stored && s->start_wall_ms > 0 &&
	    s->start_wall_ms + s->duration_ms <= now_ms)
		return refuse(rd, "startWallMs", "the task would be over already");
	return r;
}

static int refuse_preset(const struct reader *rd)
{
	char words[160] = "known ones are:";
	size_t at = strlen(words);

	for (size_t i = 0; sonde_preset_at(i) && at < sizeof(words); i++)
		at += (size_t)snprintf(words + at, sizeof(words) - at, "%s %s", i ? "," : "",
				       sonde_preset_at(i)->name);
	return refuse(rd, "preset", words);
}

static int read_texts(const struct reader *rd, const json_t *root, bool stored,
		      struct sonde_spec *s)
{
	int r;

	r = read_text(rd, root, (struct name){"id", "id"}, s->id, sizeof(s->id));
	if (r == 0 && !stored && s->id[0] != '\0')
		return refuse(rd, "id", "is given by the server");
	if (r == 0)
		r = read_text(rd, root, (struct name){"name", "name"}, s->name, sizeof(s->name));
	if (r == 0)
		r = read_text(rd, root, (struct name){"preset", "preset"}, s->preset,
			      sizeof(s->preset));
	if (r == 0)
		r = read_text(rd, root, (struct name){"createdBy", "created_by"}, s->created_by,
			      sizeof(s->created_by));
	if (r < 0)
		return r;
	if (s->preset[0] == '\0')
		memcpy(s->preset, "network", sizeof("network"));
	if (s->created_by[0] == '\0')
		memcpy(s->created_by, "api", sizeof("api"));
	return sonde_preset_find(s->preset) ? 0 : refuse_preset(rd);
}

int sonde_spec_parse(const json_t *root, int64_t now_ms, int64_t max_duration_ms, bool stored,
		     struct sonde_spec **ret, struct sonde_problem *problem)
{
	static const struct name known[] = {{"id", "id"},
					    {"name", "name"},
					    {"preset", "preset"},
					    {"targets", "targets"},
					    {"startWallMs", "start_wall_ms"},
					    {"durationMs", "duration_ms"},
					    {"reportIntervalMs", "report_interval_ms"},
					    {"collectors", "collectors"},
					    {"options", "options"},
					    {"limits", "limits"},
					    {"createdBy", "created_by"}};
	_cleanup_(sonde_spec_freep) struct sonde_spec *s = NULL;
	struct reader rd = {.problem = problem};
	int r;

	if (!json_is_object(root))
		return sonde_problem_set(problem, 400, NULL, "the body must be a JSON object");
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	r = refuse_unknown(&rd, root, known, ELEMENTS_OF(known));
	if (r == 0)
		r = read_texts(&rd, root, stored, s);
	if (r == 0)
		r = read_targets(&rd, root, s);
	if (r == 0)
		r = read_times(&rd, root, now_ms, max_duration_ms, stored, s);
	if (r == 0)
		r = read_collectors(&rd, root, sonde_preset_find(s->preset), s);
	if (r == 0)
		r = read_options(&rd, root, sonde_preset_find(s->preset), s);
	if (r == 0)
		r = read_limits(&rd, root, s);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct sonde_spec *sonde_spec_free(struct sonde_spec *s)
{
	if (!s)
		return NULL;
	free(s->targets);
	free(s);
	return NULL;
}

static json_t *target_json(const struct sonde_spec_target *t)
{
	_cleanup_json_ json_t *o = json_object();
	int r = 0;

	if (!o)
		return NULL;
	if (t->process_id[0])
		r = sonde_json_set(o, "processId", json_string(t->process_id));
	if (r == 0 && t->pid)
		r = sonde_json_set(o, "pid", json_integer(t->pid));
	if (r == 0 && t->process_name[0])
		r = sonde_json_set(o, "processName", json_string(t->process_name));
	if (r == 0 && t->service[0])
		r = sonde_json_set(o, "service", json_string(t->service));
	if (r == 0 && t->agent_id[0])
		r = sonde_json_set(o, "agentId", json_string(t->agent_id));
	return r == 0 ? TAKE_PTR(o) : NULL;
}

static json_t *limits_json(const struct sonde_task_limits *l)
{
	return json_pack("{s:I, s:b, s:I, s:I, s:I}", "maxPeers", (json_int_t)l->max_peers,
			 "stopAtMaxPeers", (int)l->stop_at_max_peers, "maxCpuPercent",
			 (json_int_t)l->max_cpu_percent, "maxMemoryBytes",
			 (json_int_t)l->max_memory_bytes, "maxEventsPerSecond",
			 (json_int_t)l->max_events_per_second);
}

static json_t *options_json(const struct sonde_spec *s)
{
	_cleanup_json_ json_t *o = json_pack("{s:b, s:b}", "executionTime", (int)s->execution_time,
					     "withoutFlows", (int)s->without_flows);
	_cleanup_json_ json_t *signals = json_array();

	for (unsigned i = 0; signals && i < _SONDE_SIGNAL_MAX; i++) {
		if (s->signals & SONDE_SIGNAL_BIT(i) &&
		    sonde_json_append(signals, json_string(sonde_signal_info(i)->name)) < 0)
			return NULL;
	}
	/* Left out where all is measured, as agents before it know it. */
	if (!o || !signals || (s->signals && sonde_json_set(o, "signals", TAKE_PTR(signals)) < 0))
		return NULL;
	return TAKE_PTR(o);
}

json_t *sonde_spec_json(const struct sonde_spec *s, sonde_spec_keep_fn keep, void *ctx)
{
	_cleanup_json_ json_t *targets = json_array(), *names = json_array();

	for (size_t k = 0; names && k < ELEMENTS_OF(collectors); k++) {
		if (s->collectors & 1U << k &&
		    sonde_json_append(names, json_string(collectors[k])) < 0)
			return NULL;
	}
	for (size_t i = 0; targets && i < s->n_targets; i++) {
		if (keep && !keep(ctx, &s->targets[i]))
			continue;
		if (sonde_json_append(targets, target_json(&s->targets[i])) < 0)
			return NULL;
	}
	return json_pack("{s:s, s:s, s:s, s:O, s:I, s:I, s:I, s:O, s:o, s:o, s:s}", "id", s->id,
			 "name", s->name, "preset", s->preset, "targets", targets, "startWallMs",
			 (json_int_t)s->start_wall_ms, "durationMs", (json_int_t)s->duration_ms,
			 "reportIntervalMs", (json_int_t)s->report_interval_ms, "collectors", names,
			 "options", options_json(s), "limits", limits_json(&s->limits), "createdBy",
			 s->created_by);
}
