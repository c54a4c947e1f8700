/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/services/lists.h"

json_t *sonde_target_json(const Sonde__V1__TargetState *target)
{
	return json_pack("{s:i, s:o, s:o, s:o, s:o}", "pid", target->pid, "process_id",
			 sonde_json_text(target->process_id), "name", sonde_json_text(target->name),
			 "state", sonde_json_text(target->state), "reason",
			 sonde_json_text(target->reason));
}

json_t *sonde_absent_json(Sonde__V1__AbsentMeter *const *absent, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < n; i++)
		(void)json_array_append_new(
			list, json_pack("{s:o, s:o}", "meter", sonde_json_text(absent[i]->meter),
					"reason", sonde_json_text(absent[i]->reason)));
	return list;
}
