/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Signals: SIGINT and SIGTERM as something to ask for, while a command waits.
 * They are blocked and read from a signalfd, so none is lost between two looks.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

struct sonde_signals {
	int fd;			 /* -1 = not watched: the signals end the process as usual */
	unsigned int interrupts; /* SIGINT seen */
	bool terminated;	 /* SIGTERM seen */
};

#define SONDE_SIGNALS_NONE ((struct sonde_signals){.fd = -1})

/* Return: 0, -errno. The process' first caller blocks them for good. */
int sonde_signals_watch(struct sonde_signals *s) _must_check_;
void sonde_signals_done(struct sonde_signals *s);
#define _cleanup_signals_ _cleanup_(sonde_signals_done)

/* Reads what is pending. True: some signal has been seen since the watch began. */
bool sonde_signals_look(struct sonde_signals *s);

/* Waits up to @timeout_ms, less if a signal comes. */
void sonde_signals_wait(struct sonde_signals *s, int timeout_ms);
