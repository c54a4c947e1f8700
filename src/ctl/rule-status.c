/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/rule-status.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* The first OAP that keeps the latest value of a metric with labels; an older one does not start with such a rule. */
#define LATEST_MAJOR 10
#define LATEST_MINOR 4

const char *sonde_rule_state_name(enum sonde_rule_state state)
{
	static const char *const names[] = {"in force", "not loaded", "partly",
					    "needs a newer OAP"};

	_Static_assert(ELEMENTS_OF(names) == _SONDE_RULE_STATE_MAX, "a name for each");
	assert(state < _SONDE_RULE_STATE_MAX);

	return names[state];
}

/* OAP's word for what it stores of a metric. */
static const char *type_of(const struct sonde_mal_rule *rule)
{
	switch (rule->function.kind) {
	case SONDE_MAL_LABELED:
	case SONDE_MAL_HISTOGRAM_PERCENTILE:
		return "LABELED_VALUE";
	case SONDE_MAL_HISTOGRAM:
		return "HEATMAP";
	default:
		return "REGULAR_VALUE";
	}
}

static bool says(const json_t *metric, const char *key, const char *want)
{
	const char *have = json_string_value(json_object_get(metric, key));

	return have && strcmp(have, want) == 0;
}

static bool has_metric(const json_t *metrics, const struct sonde_mal_rule *rule)
{
	const json_t *metric;
	size_t i;

	json_array_foreach(metrics, i, metric)
	{
		if (says(metric, "name", rule->metric))
			return says(metric, "type", type_of(rule)) &&
			       says(metric, "catalog", sonde_mal_scope_name(rule->scope));
	}
	return false;
}

static bool needs_newer(const struct sonde_mal_rules *rules, unsigned int major, unsigned int minor)
{
	if (major == 0 || major > LATEST_MAJOR || (major == LATEST_MAJOR && minor >= LATEST_MINOR))
		return false;
	for (size_t i = 0; i < sonde_mal_rules_count(rules); i++) {
		const struct sonde_mal_function *f = &sonde_mal_rules_get(rules, i)->function;

		if (f->kind == SONDE_MAL_LABELED && f->downsampling == SONDE_MAL_LATEST)
			return true;
	}
	return false;
}

int sonde_rule_status(const struct sonde_mal_rules *rules, const json_t *metrics,
		      unsigned int major, unsigned int minor, struct sonde_rule_status *ret)
{
	struct sonde_rule_status s = {.n_metrics = sonde_mal_rules_count(rules)};
	json_auto_t *missing = json_array();

	assert(rules && ret);

	for (size_t i = 0; i < s.n_metrics; i++) {
		const struct sonde_mal_rule *rule = sonde_mal_rules_get(rules, i);

		if (has_metric(metrics, rule))
			s.n_found++;
		else if (!missing || json_array_append_new(missing, json_string(rule->metric)) < 0)
			return -ENOMEM;
	}
	if (s.n_found == s.n_metrics)
		s.state = SONDE_RULE_IN_FORCE;
	else if (s.n_found > 0)
		s.state = SONDE_RULE_PARTLY;
	else
		s.state = needs_newer(rules, major, minor) ? SONDE_RULE_NEEDS_NEWER
							   : SONDE_RULE_NOT_LOADED;
	s.missing = TAKE_PTR(missing);
	*ret = s;
	return 0;
}
