/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/oap/fields.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"

static const struct {
	const char *name;
	graphql_field_fn fn;
} fields[] = {
	{"version", graphql_version},
	{"getTimeInfo", graphql_time_info},
	{"checkHealth", graphql_health},
	{"getMetricsTTL", graphql_metrics_ttl},
	{"getRecordsTTL", graphql_records_ttl},
	{"hasQueryTracesV2Support", graphql_traces_v2},
	{"getAlarm", graphql_alarms},
	{"getMenuItems", graphql_menu},
	{"getAllTemplates", graphql_templates},
	{"getTemplate", graphql_template},
	{"listLayers", graphql_layers},
	{"listLayerLevels", graphql_layer_levels},
	{"listServices", graphql_services},
	{"getAllServices", graphql_services},
	{"getService", graphql_service},
	{"findService", graphql_find_service},
	{"listInstances", graphql_instances},
	{"getInstance", graphql_instance},
	{"listProcesses", graphql_processes},
	{"getProcess", graphql_process},
	{"queryEBPFProfilingTasks", graphql_tasks},
	{"queryPrepareCreateEBPFProfilingTaskData", graphql_prepare},
	{"getProcessTopology", graphql_topology},
	{"execExpression", graphql_expression},
	{"readRecords", graphql_records},
	{"createEBPFNetworkProfiling", graphql_create},
	{"keepEBPFNetworkProfiling", graphql_keep},
	{"setContinuousProfilingPolicy", graphql_set_policy},
	{"queryContinuousProfilingServiceTargets", graphql_policy_targets},
	{"queryContinuousProfilingMonitoringInstances", graphql_policy_instances},
};

graphql_field_fn graphql_field_find(const char *name)
{
	for (size_t i = 0; i < ELEMENTS_OF(fields); i++) {
		if (strcmp(fields[i].name, name) == 0)
			return fields[i].fn;
	}
	return NULL;
}

int graphql_refuse(struct graphql_ask *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(a->message, sizeof(a->message), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int graphql_give(json_t *value, json_t **ret)
{
	if (!value)
		return -ENOMEM;
	*ret = value;
	return 0;
}

void graphql_set_subject(struct graphql_ask *a, const char *text)
{
	(void)snprintf(a->subject, sizeof(a->subject), "%s", text);
	for (char *p = a->subject; *p; p++)
		*p = (unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p;
}

const char *graphql_text(const struct graphql_ask *a, const char *argument)
{
	return sonde_json_get_text(a->arguments, argument, "");
}

int graphql_get_window(struct graphql_ask *a, struct graphql_window *ret)
{
	if (graphql_window_parse(json_object_get(a->arguments, "duration"), ret) == 0)
		return 0;
	return graphql_refuse(
		a,
		"duration: start and end are to be written as the step says, like 2026-01-31 2359");
}

json_t *graphql_created(bool status, const char *reason, const char *id)
{
	return json_pack("{s:b, s:o, s:o}", "status", (int)status, "errorReason",
			 sonde_json_text_or_null(reason), "id", sonde_json_text_or_null(id));
}
