/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/target.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "config/hint.h"

static const struct {
	const char *prefix;
	const char *field; /* of sonde.v1.Target */
} kinds[] = {
	[SONDE_TARGET_PID] = {"pid:", "pid"},
	[SONDE_TARGET_PROCESS] = {"process:", "processName"},
	[SONDE_TARGET_SERVICE] = {"service:", "service"},
	[SONDE_TARGET_ID] = {"id:", "processId"},
	[SONDE_TARGET_WORD] = {"", NULL},
};
_Static_assert(ELEMENTS_OF(kinds) == _SONDE_TARGET_KIND_MAX, "a prefix for each kind");

static int parse_pid(const char *text, struct sonde_target *ret, const char **ret_words)
{
	uint64_t pid;

	if (sonde_parse_u64(text, 1, INT32_MAX, &pid) < 0) {
		*ret_words = "expected a process id from 1 to 2147483647, such as pid:1234";
		return -EINVAL;
	}
	*ret = (struct sonde_target){.kind = SONDE_TARGET_PID, .pid = (int32_t)pid};
	return 0;
}

/* Jansson takes UTF-8 only. */
static bool is_utf8(const char *text)
{
	json_t *string = json_string(text);
	bool good = string != NULL;

	json_decref(string);
	return good;
}

int sonde_target_parse(const char *text, struct sonde_target *ret, const char **ret_words)
{
	enum sonde_target_kind kind = SONDE_TARGET_PID;
	uint64_t number;
	const char *name;

	assert(text && ret && ret_words);

	while (strncmp(text, kinds[kind].prefix, strlen(kinds[kind].prefix)) != 0)
		kind++; /* ends at WORD, whose prefix is empty */
	name = text + strlen(kinds[kind].prefix);
	if (kind == SONDE_TARGET_PID ||
	    (kind == SONDE_TARGET_WORD && sonde_parse_u64(name, 0, UINT64_MAX, &number) == 0))
		return parse_pid(name, ret, ret_words);
	if (!*name) {
		*ret_words = "expected a name";
		return -EINVAL;
	}
	if (strlen(name) > SONDE_TARGET_NAME_MAX) {
		*ret_words = "longer than 255 bytes";
		return -EINVAL;
	}
	if (!is_utf8(name)) {
		*ret_words = "expected UTF-8";
		return -EINVAL;
	}
	*ret = (struct sonde_target){.kind = kind, .name = name};
	return 0;
}

static bool has(const json_t *row, const char *key, const char *value)
{
	const char *s = json_string_value(json_object_get(row, key));

	return s && strcmp(s, value) == 0;
}

int sonde_target_resolve(struct sonde_target *target, const json_t *targets)
{
	size_t services = 0, processes = 0, both = 0;

	assert(target && target->kind == SONDE_TARGET_WORD);

	for (size_t i = 0; i < json_array_size(targets); i++) {
		const json_t *row = json_array_get(targets, i);
		bool service = has(row, "service", target->name);
		bool process = has(row, "process", target->name);

		services += service;
		processes += process;
		both += service && process;
	}
	if (services == 0 && processes == 0)
		return -ENOENT;
	/* the same processes by either name: no question to ask */
	if (services > 0 && processes > 0 && (both != services || both != processes))
		return -ENOTUNIQ;
	target->kind = services > 0 ? SONDE_TARGET_SERVICE : SONDE_TARGET_PROCESS;
	return 0;
}

const char *sonde_target_hint(const char *word, const json_t *targets)
{
	const char *near = NULL;
	size_t best = SIZE_MAX;

	for (size_t i = 0; i < json_array_size(targets); i++) {
		const json_t *row = json_array_get(targets, i);
		const char *names[] = {json_string_value(json_object_get(row, "service")),
				       json_string_value(json_object_get(row, "process"))};

		for (size_t n = 0; n < ELEMENTS_OF(names); n++) {
			if (names[n] && sonde_hint_near(word, names[n], &best))
				near = names[n];
		}
	}
	return near;
}

int sonde_target_append(const struct sonde_target *target, const char *agent, json_t *list)
{
	json_t *entry, *value;

	assert(target && target->kind != SONDE_TARGET_WORD && json_is_array(list));

	entry = json_object();
	value = target->kind == SONDE_TARGET_PID ? json_integer(target->pid)
						 : json_string(target->name);
	/* both calls take their new reference, also when they fail */
	if (json_object_set_new(entry, kinds[target->kind].field, value) < 0 ||
	    (agent && json_object_set_new(entry, "agentId", json_string(agent)) < 0)) {
		json_decref(entry);
		return -ENOMEM;
	}
	return json_array_append_new(list, entry) < 0 ? -ENOMEM : 0;
}
