/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Signals: what ends a daemon, and has it read files again, on its event loop. Before any other thread is made, as it blocks them. */

#include <systemd/sd-event.h>

#include "base/cleanup.h"

/* SIGTERM and SIGINT go to @handler, as long as @event lives. Return: 0, -errno. */
int sonde_signals_add(sd_event *event, sd_event_signal_handler_t handler, void *ctx) _must_check_;

/* SIGHUP likewise. */
int sonde_signals_add_reload(sd_event *event, sd_event_signal_handler_t handler,
			     void *ctx) _must_check_;
