/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Signals: what of a collector a task asks for (src/model/signals.def). No I/O, no allocation. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

enum sonde_signal {
#define SONDE_SIGNAL(id, name, tcp, udp, help) SONDE_SIGNAL_##id,
#include "model/signals.def"
#undef SONDE_SIGNAL
	_SONDE_SIGNAL_MAX,
	SONDE_SIGNAL_ALWAYS = _SONDE_SIGNAL_MAX, /* of meters: no signal has to be asked for */
};

/* As a mask. A mask of 0 stands for no selection: all that there is. */
#define SONDE_SIGNAL_BIT(s) (1U << (s))
#define SONDE_SIGNALS_ALL (SONDE_SIGNAL_BIT(_SONDE_SIGNAL_MAX) - 1)
_Static_assert(_SONDE_SIGNAL_MAX < 32, "a bit for each signal");

/* Does a selection (0 = none) hold @s? */
static inline bool sonde_signals_have(uint32_t mask, enum sonde_signal s)
{
	return mask == 0 || s == SONDE_SIGNAL_ALWAYS || (mask & SONDE_SIGNAL_BIT(s));
}

struct sonde_signal_info {
	const char *name;
	const char *help;
	uint32_t collectors; /* that measure it: SONDE_PROBE_COLLECT_* */
};

/* Never NULL. */
const struct sonde_signal_info *sonde_signal_info(enum sonde_signal s);

/* Return: 0, -EINVAL. */
int sonde_signal_from_name(const char *name, enum sonde_signal *ret) _must_check_;

/* What @collectors (SONDE_PROBE_COLLECT_*) measure. */
uint32_t sonde_signals_of(uint32_t collectors);

/* "bytes, calls, …": those of @mask, cut at @size. Returns @dst. */
const char *sonde_signals_names(uint32_t mask, char *dst, size_t size);
#define SONDE_SIGNALS_NAMES_MAX 128

#define SONDE_SIGNALS_WORDS_MAX 224 /* they go behind "options.signals: " */
/*
 * Judges a selection (0 = none) of a task with these collectors and options.
 * Return: 0, -EINVAL with @words: a signal that none of the collectors measures, a collector that measures none of the
 * signals, or call times without calls.
 */
int sonde_signals_check(uint32_t mask, uint32_t collectors, bool execution_time,
			char words[SONDE_SIGNALS_WORDS_MAX]) _must_check_;
