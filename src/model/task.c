/* SPDX-License-Identifier: Apache-2.0 */
#include "model/task.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

static const char *const names[] = {
	[SONDE_TASK_ACCEPTED] = "accepted",   [SONDE_TASK_PLANNED] = "planned",
	[SONDE_TASK_ATTACHING] = "attaching", [SONDE_TASK_RUNNING] = "running",
	[SONDE_TASK_DRAINING] = "draining",   [SONDE_TASK_DONE] = "done",
	[SONDE_TASK_FAILED] = "failed",	      [SONDE_TASK_REFUSED] = "refused",
	[SONDE_TASK_EXPIRED] = "expired",     [SONDE_TASK_STOPPED] = "stopped",
};
_Static_assert(sizeof(names) / sizeof(names[0]) == _SONDE_TASK_STATE_MAX, "a name for each state");

const char *sonde_task_state_name(enum sonde_task_state s)
{
	assert((unsigned)s < _SONDE_TASK_STATE_MAX);

	return names[s];
}

int sonde_task_state_from_name(const char *name, enum sonde_task_state *ret)
{
	assert(name && ret);

	for (unsigned i = 0; i < _SONDE_TASK_STATE_MAX; i++) {
		if (strcmp(name, names[i]) == 0) {
			*ret = (enum sonde_task_state)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool sonde_task_state_final(enum sonde_task_state s)
{
	return s >= SONDE_TASK_DONE;
}
