/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Rule watch: has the rules read again when their folder changes. An editor writes a file in several steps and a
 * deployment several files, so it waits until the folder was quiet for a moment. Loop thread only.
 */

#include <systemd/sd-event.h>

#include "base/cleanup.h"

struct sonde_ingest;
struct sonde_rule_watch;

/* @dir and @ingest are borrowed. Return: 0, -errno (the kernel may refuse to watch). */
int sonde_rule_watch_new(sd_event *event, const char *dir, struct sonde_ingest *ingest,
			 struct sonde_rule_watch **ret) _must_check_;
struct sonde_rule_watch *sonde_rule_watch_free(struct sonde_rule_watch *w);
SONDE_DEFINE_CLEANUP(struct sonde_rule_watch *, sonde_rule_watch_free)
