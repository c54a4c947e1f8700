/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/ingest/rule-watch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/inotify.h>

#include "backend/ingest/ingest.h"

#define QUIET_US (500 * 1000ULL)
#define LATEST_US (5 * 1000 * 1000ULL) /* where it never gets quiet */

/* A ConfigMap changes by a link that is moved in the folder. */
#define CHANGES (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ONLYDIR)

struct sonde_rule_watch {
	struct sonde_ingest *ingest;
	sd_event_source *changes, *timer; /* owned */
	uint64_t first_us;		  /* of the changes that wait; 0: none */
};

static int on_quiet(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct sonde_rule_watch *w = ctx;

	w->first_us = 0;
	(void)sonde_ingest_reload_rules(w->ingest);
	return 0;
}

static int on_change(sd_event_source *source, const struct inotify_event *event, void *ctx)
{
	struct sonde_rule_watch *w = ctx;
	uint64_t now_us, due_us;
	int r;

	r = sd_event_now(sd_event_source_get_event(source), CLOCK_MONOTONIC, &now_us);
	if (r < 0)
		return r;
	if (w->first_us == 0)
		w->first_us = now_us;
	due_us = now_us + QUIET_US;
	if (due_us > w->first_us + LATEST_US)
		due_us = w->first_us + LATEST_US;
	r = sd_event_source_set_time(w->timer, due_us);
	return r < 0 ? r : sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

int sonde_rule_watch_new(sd_event *event, const char *dir, struct sonde_ingest *ingest,
			 struct sonde_rule_watch **ret)
{
	_cleanup_(sonde_rule_watch_freep) struct sonde_rule_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->ingest = ingest;
	r = sd_event_add_time(event, &w->timer, CLOCK_MONOTONIC, 0, 0, on_quiet, w);
	if (r >= 0)
		r = sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_inotify(event, &w->changes, dir, CHANGES, on_change, w);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

struct sonde_rule_watch *sonde_rule_watch_free(struct sonde_rule_watch *w)
{
	if (!w)
		return NULL;
	(void)sd_event_source_disable_unref(w->changes);
	(void)sd_event_source_disable_unref(w->timer);
	free(w);
	return NULL;
}
