/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/oap/schema.h"

/* clang-format off */
#define FIELDS(...) (const struct sonde_graphql_field_def[]){__VA_ARGS__, {NULL, NULL, NULL}}
#define ARGS SONDE_GRAPHQL_ARGUMENTS
#define VALUES(...) (const char *const[]){__VA_ARGS__, NULL}

static const struct sonde_graphql_type_def types[] = {
	{.name = "Query", .fields = FIELDS(
		{"version", "String", NULL},
		{"getTimeInfo", "TimeInfo", NULL},
		{"checkHealth", "HealthStatus!", NULL},
		{"getMetricsTTL", "MetricsTTL", NULL},
		{"getRecordsTTL", "RecordsTTL", NULL},
		{"hasQueryTracesV2Support", "Boolean!", NULL},
		{"getAlarm", "Alarms", ARGS({"duration", "Duration!"}, {"scope", "Scope"}, {"keyword", "String"},
			{"paging", "Pagination!"}, {"tags", "[AlarmTag]"})},
		{"getMenuItems", "[MenuItem!]!", NULL},
		{"getAllTemplates", "[DashboardConfiguration!]!", NULL},
		{"getTemplate", "DashboardConfiguration", ARGS({"id", "String!"})},
		{"listLayers", "[String!]!", NULL},
		{"listLayerLevels", "[LayerLevel!]!", NULL},
		{"listServices", "[Service!]!", ARGS({"layer", "String"})},
		{"getAllServices", "[Service!]!", ARGS({"duration", "Duration!"}, {"group", "String"})},
		{"getService", "Service", ARGS({"serviceId", "String!"})},
		{"findService", "Service", ARGS({"serviceName", "String!"})},
		{"listInstances", "[ServiceInstance!]!", ARGS({"duration", "Duration!"}, {"serviceId", "ID!"})},
		{"getInstance", "ServiceInstance", ARGS({"instanceId", "String!"})},
		{"listProcesses", "[Process!]!", ARGS({"duration", "Duration!"}, {"instanceId", "ID!"})},
		{"getProcess", "Process", ARGS({"processId", "ID!"})},
		{"queryEBPFProfilingTasks", "[EBPFProfilingTask!]!", ARGS({"serviceId", "ID"}, {"serviceInstanceId", "ID"},
			{"targets", "[EBPFProfilingTargetType!]"}, {"triggerType", "EBPFProfilingTriggerType"}, {"duration", "Duration"})},
		{"queryContinuousProfilingServiceTargets", "[ContinuousProfilingPolicyTarget!]!", ARGS({"serviceId", "ID!"})},
		{"queryContinuousProfilingMonitoringInstances", "[ContinuousProfilingMonitoringInstance!]!",
			ARGS({"serviceId", "ID!"}, {"target", "ContinuousProfilingTargetType!"})},
		{"queryPrepareCreateEBPFProfilingTaskData", "EBPFProfilingTaskPrepare!", ARGS({"serviceId", "ID!"})},
		{"getProcessTopology", "ProcessTopology", ARGS({"serviceInstanceId", "ID!"}, {"duration", "Duration!"})},
		{"execExpression", "ExpressionResult!", ARGS({"expression", "String!"}, {"entity", "Entity!"}, {"duration", "Duration!"},
			{"debug", "Boolean"}, {"dumpDBRsp", "Boolean"})},
		{"readRecords", "[Record!]!", ARGS({"condition", "RecordCondition!"}, {"duration", "Duration!"}, {"debug", "Boolean"})})},
	{.name = "Mutation", .fields = FIELDS(
		{"createEBPFNetworkProfiling", "EBPFProfilingTaskCreationResult!", ARGS({"request", "EBPFProfilingNetworkTaskRequest!"})},
		{"keepEBPFNetworkProfiling", "EBPFNetworkKeepProfilingResult!", ARGS({"taskId", "ID!"})},
		{"setContinuousProfilingPolicy", "ContinuousProfilingSetResult!", ARGS({"request", "ContinuousProfilingPolicyCreation!"})})},

	{.name = "TimeInfo", .fields = FIELDS({"timezone", "String", NULL}, {"currentTimestamp", "Long", NULL})},
	{.name = "HealthStatus", .fields = FIELDS({"score", "Int!", NULL}, {"details", "String", NULL})},
	{.name = "MetricsTTL", .fields = FIELDS(
		{"metadata", "Int!", NULL}, {"minute", "Int!", NULL}, {"hour", "Int!", NULL}, {"day", "Int!", NULL},
		{"coldMinute", "Int!", NULL}, {"coldHour", "Int!", NULL}, {"coldDay", "Int!", NULL})},
	{.name = "RecordsTTL", .fields = FIELDS(
		{"normal", "Int!", NULL}, {"trace", "Int!", NULL}, {"zipkinTrace", "Int!", NULL}, {"log", "Int!", NULL},
		{"browserErrorLog", "Int!", NULL}, {"coldNormal", "Int!", NULL}, {"coldTrace", "Int!", NULL},
		{"coldZipkinTrace", "Int!", NULL}, {"coldLog", "Int!", NULL}, {"coldBrowserErrorLog", "Int!", NULL})},
	{.name = "Alarms", .fields = FIELDS({"msgs", "[AlarmMessage!]!", NULL})},
	{.name = "AlarmMessage", .fields = FIELDS(
		{"startTime", "Long!", NULL}, {"recoveryTime", "Long", NULL}, {"scope", "Scope", NULL}, {"id", "ID!", NULL},
		{"name", "String!", NULL}, {"message", "String!", NULL}, {"events", "[Event!]!", NULL}, {"tags", "[KeyValue!]!", NULL},
		{"snapshot", "AlarmSnapshot!", NULL})},
	{.name = "AlarmSnapshot", .fields = FIELDS({"expression", "String", NULL}, {"metrics", "[MQEMetric!]!", NULL})},
	{.name = "MQEMetric", .fields = FIELDS({"name", "String!", NULL}, {"results", "[MQEValues!]!", NULL})},
	{.name = "Event", .fields = FIELDS(
		{"uuid", "ID!", NULL}, {"source", "Source!", NULL}, {"name", "String!", NULL}, {"type", "String!", NULL},
		{"message", "String!", NULL}, {"parameters", "[KeyValue!]", NULL}, {"startTime", "Long!", NULL}, {"endTime", "Long", NULL},
		{"layer", "String!", NULL})},
	{.name = "Source", .fields = FIELDS(
		{"service", "String!", NULL}, {"serviceInstance", "String!", NULL}, {"endpoint", "String!", NULL})},
	{.name = "MenuItem", .fields = FIELDS(
		{"title", "String!", NULL}, {"icon", "String", NULL}, {"layer", "String!", NULL}, {"activate", "Boolean!", NULL},
		{"description", "String", NULL}, {"documentLink", "String", NULL}, {"i18nKey", "String", NULL},
		{"subItems", "[MenuItem!]!", NULL})},
	{.name = "DashboardConfiguration", .fields = FIELDS(
		{"id", "String!", NULL}, {"configuration", "String!", NULL}, {"updateTime", "Long!", NULL})},
	{.name = "LayerLevel", .fields = FIELDS({"layer", "String!", NULL}, {"level", "Int!", NULL})},
	{.name = "Service", .fields = FIELDS(
		{"id", "ID!", NULL}, {"name", "String!", NULL}, {"group", "String!", NULL}, {"shortName", "String!", NULL},
		{"layers", "[String!]!", NULL}, {"normal", "Boolean", NULL})},
	{.name = "ServiceInstance", .fields = FIELDS(
		{"id", "ID!", NULL}, {"name", "String!", NULL}, {"attributes", "[Attribute!]!", NULL}, {"language", "Language!", NULL},
		{"instanceUUID", "String!", NULL})},
	{.name = "Attribute", .fields = FIELDS({"name", "String!", NULL}, {"value", "String!", NULL})},
	{.name = "Language", .values = VALUES("UNKNOWN")},
	{.name = "Process", .fields = FIELDS(
		{"id", "ID!", NULL}, {"name", "String!", NULL}, {"serviceId", "String!", NULL}, {"serviceName", "String!", NULL},
		{"instanceId", "String!", NULL}, {"instanceName", "String!", NULL}, {"agentId", "String!", NULL},
		{"detectType", "String!", NULL}, {"attributes", "[Attribute!]!", NULL}, {"labels", "[String!]!", NULL})},
	{.name = "EBPFProfilingTask", .fields = FIELDS(
		{"taskId", "String!", NULL}, {"serviceId", "String!", NULL}, {"serviceName", "String!", NULL},
		{"serviceInstanceId", "String", NULL}, {"serviceInstanceName", "String", NULL}, {"processId", "String", NULL},
		{"processName", "String", NULL}, {"processLabels", "[String!]", NULL}, {"taskStartTime", "Long!", NULL},
		{"triggerType", "EBPFProfilingTriggerType!", NULL}, {"fixedTriggerDuration", "Long", NULL},
		{"targetType", "EBPFProfilingTargetType!", NULL}, {"createTime", "Long!", NULL},
		{"continuousProfilingCauses", "[ContinuousProfilingTriggeredCause!]", NULL})},
	{.name = "ContinuousProfilingTriggeredCause", .fields = FIELDS(
		{"type", "String!", NULL}, {"singleValue", "ContinuousProfilingTriggeredCauseSingleValue", NULL},
		{"uri", "ContinuousProfilingTriggeredCauseURI", NULL}, {"message", "String!", NULL})},
	{.name = "ContinuousProfilingTriggeredCauseSingleValue", .fields = FIELDS(
		{"threshold", "Long!", NULL}, {"current", "Long!", NULL})},
	{.name = "ContinuousProfilingTriggeredCauseURI", .fields = FIELDS(
		{"uriRegex", "String", NULL}, {"uriPath", "String", NULL}, {"threshold", "Long!", NULL}, {"current", "Long!", NULL})},
	{.name = "ContinuousProfilingSetResult", .fields = FIELDS(
		{"status", "Boolean!", NULL}, {"errorReason", "String", NULL})},
	{.name = "ContinuousProfilingPolicyTarget", .fields = FIELDS(
		{"type", "ContinuousProfilingTargetType!", NULL}, {"checkItems", "[ContinuousProfilingPolicyItem!]!", NULL},
		{"triggeredCount", "Int", NULL}, {"lastTriggerTimestamp", "Long", NULL})},
	{.name = "ContinuousProfilingPolicyItem", .fields = FIELDS(
		{"type", "ContinuousProfilingMonitorType!", NULL}, {"threshold", "String!", NULL}, {"period", "Int!", NULL},
		{"count", "Int!", NULL}, {"uriList", "[String!]", NULL}, {"uriRegex", "String", NULL})},
	{.name = "ContinuousProfilingMonitoringInstance", .fields = FIELDS(
		{"id", "ID!", NULL}, {"name", "String!", NULL}, {"attributes", "[Attribute!]!", NULL}, {"triggeredCount", "Int", NULL},
		{"lastTriggerTimestamp", "Long", NULL}, {"processes", "[ContinuousProfilingMonitoringProcess!]!", NULL})},
	{.name = "ContinuousProfilingMonitoringProcess", .fields = FIELDS(
		{"id", "ID!", NULL}, {"name", "String!", NULL}, {"detectType", "String!", NULL}, {"labels", "[String!]!", NULL},
		{"triggeredCount", "Int", NULL}, {"lastTriggerTimestamp", "Long", NULL})},
	{.name = "ProcessTopology", .fields = FIELDS({"nodes", "[ProcessNode!]!", NULL}, {"calls", "[Call!]!", NULL})},
	{.name = "ProcessNode", .fields = FIELDS(
		{"id", "ID!", NULL}, {"name", "String!", NULL}, {"serviceId", "ID!", NULL}, {"serviceName", "String!", NULL},
		{"serviceInstanceId", "ID!", NULL}, {"serviceInstanceName", "String!", NULL}, {"isReal", "Boolean!", NULL})},
	{.name = "Call", .fields = FIELDS(
		{"id", "ID!", NULL}, {"source", "ID!", NULL}, {"sourceComponents", "[ID!]!", NULL}, {"target", "ID!", NULL},
		{"targetComponents", "[ID!]!", NULL}, {"detectPoints", "[DetectPoint!]!", NULL})},
	{.name = "ExpressionResult", .fields = FIELDS(
		{"type", "ExpressionResultType!", NULL}, {"results", "[MQEValues!]!", NULL}, {"error", "String", NULL})},
	{.name = "MQEValues", .fields = FIELDS({"metric", "Metadata", NULL}, {"values", "[MQEValue!]!", NULL})},
	{.name = "Metadata", .fields = FIELDS({"labels", "[KeyValue!]!", NULL})},
	{.name = "KeyValue", .fields = FIELDS({"key", "String!", NULL}, {"value", "String!", NULL})},
	{.name = "MQEValue", .fields = FIELDS(
		{"id", "ID", NULL}, {"owner", "Owner", NULL}, {"value", "String", NULL}, {"traceID", "ID", NULL})},
	{.name = "Owner", .fields = FIELDS(
		{"scope", "Scope", NULL}, {"serviceID", "ID", NULL}, {"serviceName", "String", NULL}, {"normal", "Boolean", NULL},
		{"serviceInstanceID", "ID", NULL}, {"serviceInstanceName", "String", NULL}, {"endpointID", "ID", NULL},
		{"endpointName", "String", NULL})},
	{.name = "Record", .fields = FIELDS(
		{"name", "String!", NULL}, {"id", "ID!", NULL}, {"value", "String", NULL}, {"refId", "ID", NULL},
		{"owner", "Owner", NULL})},
	{.name = "EBPFProfilingTaskPrepare", .fields = FIELDS(
		{"couldProfiling", "Boolean!", NULL}, {"processLabels", "[String!]!", NULL})},
	{.name = "EBPFProfilingTaskCreationResult", .fields = FIELDS(
		{"status", "Boolean!", NULL}, {"errorReason", "String", NULL}, {"id", "String", NULL})},
	{.name = "EBPFNetworkKeepProfilingResult", .fields = FIELDS(
		{"status", "Boolean!", NULL}, {"errorReason", "String", NULL})},

	{.name = "Duration", .inputs = ARGS(
		{"start", "String!"}, {"end", "String!"}, {"step", "Step!"}, {"coldStage", "Boolean"})},
	{.name = "Entity", .inputs = ARGS(
		{"scope", "Scope"}, {"serviceName", "String"}, {"normal", "Boolean"}, {"serviceInstanceName", "String"},
		{"endpointName", "String"}, {"processName", "String"}, {"destServiceName", "String"}, {"destNormal", "Boolean"},
		{"destServiceInstanceName", "String"}, {"destEndpointName", "String"}, {"destProcessName", "String"})},
	{.name = "Pagination", .inputs = ARGS({"pageNum", "Int"}, {"pageSize", "Int!"})},
	{.name = "AlarmTag", .inputs = ARGS({"key", "String!"}, {"value", "String"})},
	{.name = "RecordCondition", .inputs = ARGS(
		{"name", "String!"}, {"parentEntity", "Entity"}, {"topN", "Int!"}, {"order", "Order!"})},
	{.name = "EBPFProfilingNetworkTaskRequest", .inputs = ARGS(
		{"instanceId", "ID!"}, {"samplings", "[EBPFNetworkSamplingRule!]"})},
	{.name = "EBPFNetworkSamplingRule", .inputs = ARGS(
		{"uriRegex", "String"}, {"minDuration", "Int"}, {"when4xx", "Boolean!"}, {"when5xx", "Boolean!"},
		{"settings", "EBPFNetworkDataCollectingSettings!"})},
	{.name = "EBPFNetworkDataCollectingSettings", .inputs = ARGS(
		{"requireCompleteRequest", "Boolean!"}, {"maxRequestSize", "Int"}, {"requireCompleteResponse", "Boolean!"},
		{"maxResponseSize", "Int"})},

	{.name = "ContinuousProfilingPolicyCreation", .inputs = ARGS(
		{"serviceId", "ID!"}, {"targets", "[ContinuousProfilingPolicyTargetCreation!]!"})},
	{.name = "ContinuousProfilingPolicyTargetCreation", .inputs = ARGS(
		{"targetType", "ContinuousProfilingTargetType!"}, {"checkItems", "[ContinuousProfilingPolicyItemCreation!]!"})},
	{.name = "ContinuousProfilingPolicyItemCreation", .inputs = ARGS(
		{"type", "ContinuousProfilingMonitorType!"}, {"threshold", "String!"}, {"period", "Int!"}, {"count", "Int!"},
		{"uriList", "[String!]"}, {"uriRegex", "String"})},

	{.name = "ContinuousProfilingTargetType", .values = VALUES("ON_CPU", "OFF_CPU", "NETWORK")},
	{.name = "ContinuousProfilingMonitorType", .values = VALUES("PROCESS_CPU", "PROCESS_THREAD_COUNT", "SYSTEM_LOAD",
		"HTTP_ERROR_RATE", "HTTP_AVG_RESPONSE_TIME")},
	{.name = "Step", .values = VALUES("MONTH", "DAY", "HOUR", "MINUTE", "SECOND")},
	{.name = "Scope", .values = VALUES("All", "Service", "ServiceInstance", "Endpoint", "Process", "ServiceRelation",
		"ServiceInstanceRelation", "EndpointRelation", "ProcessRelation")},
	{.name = "Order", .values = VALUES("ASC", "DES")},
	{.name = "DetectPoint", .values = VALUES("CLIENT", "SERVER", "PROXY")},
	{.name = "EBPFProfilingTargetType", .values = VALUES("ON_CPU", "OFF_CPU", "NETWORK")},
	{.name = "EBPFProfilingTriggerType", .values = VALUES("FIXED_TIME", "CONTINUOUS_PROFILING")},
	{.name = "ExpressionResultType", .values = VALUES("UNKNOWN", "SINGLE_VALUE", "TIME_SERIES_VALUES", "SORTED_LIST", "RECORD_LIST")},
	{.name = NULL},
};
/* clang-format on */

const struct sonde_graphql_schema sonde_skywalking_schema = {.types = types};
