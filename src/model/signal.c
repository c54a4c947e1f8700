/* SPDX-License-Identifier: Apache-2.0 */
#include "model/signal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/probe-msg.h"

static const struct sonde_signal_info infos[] = {
#define SONDE_SIGNAL(id, name, tcp, udp, help)                                                     \
	[SONDE_SIGNAL_##id] = {name, help,                                                         \
			       ((tcp) ? SONDE_PROBE_COLLECT_TCP : 0) |                             \
				       ((udp) ? SONDE_PROBE_COLLECT_UDP : 0)},
#include "model/signals.def"
#undef SONDE_SIGNAL
};
_Static_assert(ELEMENTS_OF(infos) == _SONDE_SIGNAL_MAX, "a line for each signal");

const struct sonde_signal_info *sonde_signal_info(enum sonde_signal s)
{
	assert((unsigned)s < _SONDE_SIGNAL_MAX);

	return &infos[s];
}

int sonde_signal_from_name(const char *name, enum sonde_signal *ret)
{
	assert(name && ret);

	for (unsigned i = 0; i < ELEMENTS_OF(infos); i++) {
		if (strcmp(name, infos[i].name) == 0) {
			*ret = (enum sonde_signal)i;
			return 0;
		}
	}
	return -EINVAL;
}

uint32_t sonde_signals_of(uint32_t collectors)
{
	uint32_t mask = 0;

	for (unsigned i = 0; i < ELEMENTS_OF(infos); i++) {
		if (infos[i].collectors & collectors)
			mask |= SONDE_SIGNAL_BIT(i);
	}
	return mask;
}

const char *sonde_signals_names(uint32_t mask, char *dst, size_t size)
{
	size_t at = 0;

	assert(dst && size > 0);

	dst[0] = '\0';
	for (unsigned i = 0; i < ELEMENTS_OF(infos); i++) {
		if (!(mask & SONDE_SIGNAL_BIT(i)) || at >= size)
			continue;
		at += (size_t)snprintf(dst + at, size - at, "%s%s", at ? ", " : "", infos[i].name);
	}
	return dst;
}

/* Without a signal of its own a collector would measure all that it has. Returns its name; NULL = each has one. */
static const char *collector_without(uint32_t mask, uint32_t collectors)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} rows[] = {{SONDE_PROBE_COLLECT_TCP, "tcp"}, {SONDE_PROBE_COLLECT_UDP, "udp"}};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		if (collectors & rows[i].bit && !(mask & sonde_signals_of(rows[i].bit)))
			return rows[i].name;
	}
	return NULL;
}

int sonde_signals_check(uint32_t mask, uint32_t collectors, bool execution_time,
			char words[SONDE_SIGNALS_WORDS_MAX])
{
	char names[SONDE_SIGNALS_NAMES_MAX], known[SONDE_SIGNALS_NAMES_MAX];
	uint32_t strange = mask & ~sonde_signals_of(collectors);
	const char *idle = mask ? collector_without(mask, collectors) : NULL;

	if (strange) {
		(void)snprintf(
			words, SONDE_SIGNALS_WORDS_MAX,
			"no collector of the task has %.40s, they have %s",
			sonde_signals_names(strange, names, sizeof(names)),
			sonde_signals_names(sonde_signals_of(collectors), known, sizeof(known)));
		return -EINVAL;
	}
	if (idle) {
		(void)snprintf(words, SONDE_SIGNALS_WORDS_MAX,
			       "they ask nothing of the collector %s: name one that it has, or "
			       "leave it out of the collectors",
			       idle);
		return -EINVAL;
	}
	if (mask && execution_time && !(mask & SONDE_SIGNAL_BIT(SONDE_SIGNAL_CALLS))) {
		(void)snprintf(words, SONDE_SIGNALS_WORDS_MAX,
			       "executionTime needs calls beside them");
		return -EINVAL;
	}
	return 0;
}
