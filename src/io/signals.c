/* SPDX-License-Identifier: Apache-2.0 */
#include "io/signals.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>

int sonde_signals_add(sd_event *event, sd_event_signal_handler_t handler, void *ctx)
{
	sigset_t set;
	int r;

	assert(event && handler);

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	r = sd_event_add_signal(event, NULL, SIGTERM, handler, ctx);
	if (r < 0)
		return r;
	r = sd_event_add_signal(event, NULL, SIGINT, handler, ctx);
	return r < 0 ? r : 0;
}

int sonde_signals_add_reload(sd_event *event, sd_event_signal_handler_t handler, void *ctx)
{
	sigset_t set;
	int r;

	assert(event && handler);

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	r = sd_event_add_signal(event, NULL, SIGHUP, handler, ctx);
	return r < 0 ? r : 0;
}
