/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/continuous-policy.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

static const char *const monitors[] = {
	[SONDE_CONTINUOUS_PROCESS_CPU] = "PROCESS_CPU",
	[SONDE_CONTINUOUS_PROCESS_THREAD_COUNT] = "PROCESS_THREAD_COUNT",
	[SONDE_CONTINUOUS_SYSTEM_LOAD] = "SYSTEM_LOAD",
};
_Static_assert(ELEMENTS_OF(monitors) == _SONDE_CONTINUOUS_MONITOR_MAX, "a name for each monitor");

const char *sonde_continuous_monitor_name(enum sonde_continuous_monitor m)
{
	assert((unsigned)m < _SONDE_CONTINUOUS_MONITOR_MAX);

	return monitors[m];
}

static void json_unrefp(json_t **j)
{
	json_decref(*j);
}

/* The remark grows while there is room. */
static void say(struct sonde_continuous_policy *p, const char *task, const char *monitor,
		const char *why)
{
	size_t at = strlen(p->remark);

	(void)snprintf(p->remark + at, sizeof(p->remark) - at, "%s%.20s%s%.30s: %s", at ? "; " : "",
		       task, monitor[0] ? " " : "", monitor, why);
}

/* OAP writes the threshold as text. */
static int read_threshold(const json_t *o, double *ret)
{
	const json_t *v = json_object_get(o, "Threshold");

	if (json_is_number(v))
		*ret = json_number_value(v);
	else if (!json_is_string(v) || sonde_parse_double(json_string_value(v), ret) < 0)
		return -EINVAL;
	return *ret >= 0 ? 0 : -EINVAL;
}

static int read_seconds(const json_t *o, const char *key, unsigned *ret)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	if (n < 1 || n > SONDE_CONTINUOUS_PERIOD_MAX_S)
		return -EINVAL;
	*ret = (unsigned)n;
	return 0;
}

/* Return: NULL, or why it cannot be watched. */
static const char *read_rule(const json_t *o, struct sonde_continuous_rule *rule)
{
	if (read_threshold(o, &rule->threshold) < 0)
		return "Threshold: a number from 0 was expected";
	if (read_seconds(o, "Period", &rule->period_s) < 0)
		return "Period: 1 to 1024 seconds were expected";
	if (read_seconds(o, "Count", &rule->count) < 0 || rule->count > rule->period_s)
		return "Count: 1 to the period's seconds were expected";
	return NULL;
}

static void take_monitor(struct sonde_continuous_policy *p, const char *name, const json_t *o)
{
	struct sonde_continuous_rule rule = {0};
	const char *why;

	for (unsigned m = 0; m < _SONDE_CONTINUOUS_MONITOR_MAX; m++) {
		if (strcmp(name, monitors[m]) != 0)
			continue;
		rule.monitor = m;
		why = read_rule(o, &rule);
		if (why)
			say(p, "NETWORK", name, why);
		else if (p->n_rules < ELEMENTS_OF(p->rules))
			p->rules[p->n_rules++] = rule;
		return;
	}
	say(p, "NETWORK", name,
	    strncmp(name, "HTTP_", 5) == 0 ? "HTTP is not observed" : "is not known");
}

static void take_profiling(struct sonde_continuous_policy *p, json_t *profiling)
{
	const char *task, *monitor;
	json_t *o, *rule;

	json_object_foreach(profiling, task, o)
	{
		if (strcmp(task, "NETWORK") != 0) {
			say(p, task, "", "only NETWORK tasks are run");
			continue;
		}
		json_object_foreach(o, monitor, rule)
		{
			take_monitor(p, monitor, rule);
		}
	}
}

static int copy_text(const json_t *o, const char *key, char *dst, size_t size)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (!s || strlen(s) >= size)
		return -EINVAL;
	(void)snprintf(dst, size, "%s", s);
	return 0;
}

static int take_policy(struct sonde_continuous_policy *p, const json_t *o)
{
	if (copy_text(o, "ServiceName", p->service, sizeof(p->service)) < 0 || !p->service[0])
		return -EINVAL;
	/* One that was removed has none. */
	if (json_object_get(o, "UUID") && copy_text(o, "UUID", p->uuid, sizeof(p->uuid)) < 0)
		return -EINVAL;
	if (p->uuid[0])
		take_profiling(p, json_object_get(o, "Profiling"));
	return 0;
}

int sonde_continuous_parse(const char *text, size_t n, struct sonde_continuous_policy **ret,
			   size_t *ret_n, char words[SONDE_CONTINUOUS_WORDS_MAX])
{
	_cleanup_(json_unrefp) json_t *root = NULL;
	_cleanup_free_ struct sonde_continuous_policy *list = NULL;
	size_t count;

	assert(text && ret && ret_n && words);

	root = n <= SONDE_CONTINUOUS_JSON_MAX ? json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL)
					      : NULL;
	count = json_array_size(root);
	if (!json_is_array(root) || count > SONDE_CONTINUOUS_POLICIES_MAX) {
		(void)snprintf(words, SONDE_CONTINUOUS_WORDS_MAX,
			       "a list of at most %d services was expected",
			       SONDE_CONTINUOUS_POLICIES_MAX);
		return -EINVAL;
	}
	list = calloc(count ? count : 1, sizeof(list[0]));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (take_policy(&list[i], json_array_get(root, i)) == 0)
			continue;
		(void)snprintf(words, SONDE_CONTINUOUS_WORDS_MAX,
			       "[%zu]: ServiceName and UUID were expected", i);
		return -EINVAL;
	}
	*ret_n = count;
	*ret = TAKE_PTR(list);
	return 0;
}

void sonde_continuous_window_aim(struct sonde_continuous_window *w, double threshold)
{
	assert(w);

	/* The same text of a policy is the same bits. */
	if (w->threshold < threshold || w->threshold > threshold)
		*w = (struct sonde_continuous_window){.threshold = threshold};
}

void sonde_continuous_window_push(struct sonde_continuous_window *w, bool reached)
{
	const uint64_t bit = 1ULL << (w->at % 64);

	if (reached)
		w->bits[w->at / 64] |= bit;
	else
		w->bits[w->at / 64] &= ~bit;
	w->at = (w->at + 1) % SONDE_CONTINUOUS_PERIOD_MAX_S;
}

unsigned sonde_continuous_window_count(const struct sonde_continuous_window *w, unsigned period_s)
{
	unsigned n = 0;

	assert(period_s >= 1 && period_s <= SONDE_CONTINUOUS_PERIOD_MAX_S);

	for (unsigned i = 1; i <= period_s; i++) {
		unsigned at =
			(w->at + SONDE_CONTINUOUS_PERIOD_MAX_S - i) % SONDE_CONTINUOUS_PERIOD_MAX_S;

		n += (w->bits[at / 64] >> (at % 64)) & 1;
	}
	return n;
}
