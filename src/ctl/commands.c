/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of commands: dispatch, help and completion come from it. */
#include "ctl/cli.h"
#include "ctl/task-time.h"
#include "ctl/watch.h"

const struct sonde_cli_flag sonde_cli_global_flags[] = {
	{"server", 0, "URL", "the server's REST address"},
	{"context", 0, "NAME", "the server of this name in the config file"},
	{"ca", 0, "FILE", "roots that an https server is checked by"},
	{"cert", 0, "FILE", "our own certificate"},
	{"key", 0, "FILE", "its key"},
	{"output", 'o', "FORMAT",
	 "table, wide, name, json, jsonl, yaml, csv, jsonpath=EXPR; of topology also dot, mermaid"},
	{"columns", 0, "NAMES", "columns to print: a,b only these, +c one more, -d one less"},
	{"no-headers", 0, NULL, "tables without their heading"},
	{"color", 0, "WHEN", "auto, always or never; NO_COLOR is obeyed"},
	{"utc", 0, NULL, "times of tables in UTC"},
	{"quiet", 'q', NULL, "no progress and no notes on stderr"},
	{"verbose", 'v', NULL, "each request on stderr"},
	{"request-timeout", 0, "TIME", "longest wait for one answer"},
	{"tasks-dir", 0, "PATH", "folder of presets"},
	{"config", 0, "FILE", "read this file instead of ~/.config/sonde/config.yaml"},
	{"help", 'h', NULL, "this text"},
	{"version", 'V', NULL, "the version"},
	{0},
};

#define SPEC_FLAGS                                                                                 \
	{"preset", 'p', "NAME", "tasks/NAME.yaml (default network)"},                              \
		{"file", 'f', "FILE", "a TaskSpec as YAML or JSON; - is stdin"},                   \
		{"duration", 'd', "TIME", "how long it runs, 1s to 30m"},                          \
		{"interval", 'i', "TIME", "how often the agent reports"},                          \
		{"name", 0, "TEXT", "a name for people"},                                          \
		{"at", 0, "TIME", "start: RFC 3339, HH:MM[:SS] local, or +5m"},                    \
		{"agent", 0, "ID", "only processes of this agent"},                                \
		{"execution-time", 0, NULL, "time calls too (if the agent can)"},                  \
		{"no-flows", 0, NULL, "no connections one by one"},                                \
		{"dry-run", 0, NULL, "say what it would do and cost, create nothing"},             \
		{"max-peers", 0, "N", "peers counted apart; 0 = 4096, or the policy's limit"},     \
		{"stop-at-max-peers", 0, NULL, "end it there, add no further peers to `other`"},   \
		{"max-cpu", 0, "PERCENT", "of one core; beyond it the task ends; 0 = no limit"},   \
		{"max-memory", 0, "BYTES", "of maps and processes, 4MiB and more; likewise"},      \
	{                                                                                          \
		"max-events", 0, "N", "BPF programs run a second; likewise"                        \
	}

#define LOSS_FLAG                                                                                  \
	{                                                                                          \
		"max-loss", 0, "N", "exit 7 if more than N entries were lost; 0 = none may be"     \
	}

static const struct sonde_cli_flag create_flags[] = {
	SPEC_FLAGS,
	{"print-spec", 0, NULL, "print the TaskSpec, create nothing"},
	{0},
};

static const struct sonde_cli_flag run_flags[] = {
	SPEC_FLAGS,
	LOSS_FLAG,
	{"stop-on-exit", 0, NULL, "Ctrl-C stops the task instead of leaving it running"},
	{0},
};

static const struct sonde_cli_flag list_flags[] = {
	SONDE_WATCH_FLAGS,
	{0},
};

static const struct sonde_cli_flag targets_flags[] = {
	{"search", 0, "TEXT", "only rows that contain TEXT"},
	{"node", 0, "HOST", "only of this host"},
	SONDE_WATCH_FLAGS,
	{0},
};

static const struct sonde_cli_flag wait_flags[] = {
	{"for", 0, "WHAT", "running, first-data, failed or done (default: any end)"},
	{"timeout", 0, "TIME", "give up after TIME, exit 6"},
	LOSS_FLAG,
	{0},
};

static const struct sonde_cli_flag watch_flags[] = {
	{"timeout", 0, "TIME", "give up after TIME, exit 6"},
	{0},
};

static const struct sonde_cli_flag attach_flags[] = {
	{"stop-on-exit", 0, NULL, "Ctrl-C stops the task instead of leaving it running"},
	LOSS_FLAG,
	{0},
};

static const struct sonde_cli_flag logs_flags[] = {
	{"follow", 'f', NULL, "what is told from now on too, until it has ended"},
	{0},
};

static const struct sonde_cli_flag clone_flags[] = {
	{"duration", 'd', "TIME", "another duration"},
	{"interval", 'i', "TIME", "another report interval"},
	{"name", 0, "TEXT", "another name"},
	{"at", 0, "TIME", "start: RFC 3339, HH:MM[:SS] local, or +5m"},
	{"agent", 0, "ID", "of each TARGET: only processes of this agent"},
	{0},
};

static const struct sonde_cli_flag stop_flags[] = {
	{"reason", 0, "TEXT", "why, for the task's time line"},
	{0},
};

static const struct sonde_cli_flag metrics_flags[] = {
	{"metric", 'm', "NAME", "only this metric"},
	{"step", 0, "STEP", "its series, 10s, 1m or 1h, instead of totals"},
	{0},
};

static const struct sonde_cli_flag topology_flags[] = {
	{"by", 0, "WHAT", "process (default), instance, workload, service, node or ip"},
	{"metric", 'm', "NAME", "the largest first by: bytes, retransmitted_segments, rtt_p99, …"},
	{"top", 0, "N", "only the N largest"},
	{"hide-below", 0, "PERCENT", "only those with that much of the sum"},
	SONDE_TASK_WINDOW_FLAGS,
	SONDE_WATCH_FLAGS,
	{0},
};

#define PAGE_FLAGS                                                                                 \
	{"limit", 0, "N", "so many rows at most"},                                                 \
	{                                                                                          \
		"cursor", 0, "CURSOR", "go on behind an earlier answer"                            \
	}

static const struct sonde_cli_flag drops_flags[] = {
	{"by", 0, "WHAT", "reason (default), class, direction, edge or location"},
	{"edge", 0, "EDGE", "only of this edge, by its id"},
	{"side", 0, "SIDE", "only what this end dropped: client or server"},
	SONDE_TASK_WINDOW_FLAGS,
	PAGE_FLAGS,
	{0},
};

static const struct sonde_cli_flag rtt_flags[] = {
	{"hist", 0, NULL, "all together as a histogram"},
	{"side", 0, "SIDE", "only of this end: client or server"},
	SONDE_TASK_WINDOW_FLAGS,
	PAGE_FLAGS,
	{0},
};

static const struct sonde_cli_flag flows_flags[] = {
	{"process", 0, "NAME", "only of this process: name, id or pid"},
	{"peer", 0, "NAME", "only to this peer: name, id or address"},
	{"state", 0, "STATE", "open, ended, failed, or a state of TCP"},
	{"role", 0, "ROLE", "client or server"},
	{"sort", 0, "KEY", "bytes (default), retransmits, rtt or start"},
	{"limit", 0, "N", "so many at most, 1 to 1000 (default 100)"},
	{"cursor", 0, "CURSOR", "go on behind an earlier answer"},
	{"follow", 'f', NULL, "each that has ended, as it ends, until the task has"},
	{"every", 0, "TIME", "how often -f looks, 500ms to 1m (default 2s)"},
	{0},
};

static const struct sonde_cli_flag loss_flags[] = {
	LOSS_FLAG,
	{0},
};

static const struct sonde_cli_flag mal_check_flags[] = {
	{"no-warnings", 0, NULL, "only what an OAP refuses"},
	{0},
};

static const struct sonde_cli_flag mal_eval_flags[] = {
	{"input", 0, "SAMPLES", "a scrape as JSON, or a list of them; - is stdin"},
	{"rule", 0, "NAME", "only this rule, or its metric"},
	{"explain", 0, NULL, "the samples after each call of the rules"},
	{"strict", 0, NULL, "counters as they should be, not as an OAP has them"},
	{"seconds", 0, NULL, "bounds of histograms are seconds, as in OTLP, not milliseconds"},
	{"vectors", 0, NULL, "expressions and scrapes as JSON lines on stdin, an answer a line"},
	{0},
};

#define OAP_FLAGS                                                                                  \
	{"oap", 0, "URL", "the OAP's REST address (default http://127.0.0.1:12800)"},              \
		{"token-file", 0, "FILE", "a token, sent as Authorization: Bearer"},               \
		{"basic-file", 0, "FILE", "NAME:PASSWORD for basic authentication"},               \
		{"layer", 0, "LAYERS",                                                             \
		 "layers to have the dashboards, by comma (default GENERAL)"},                     \
	{                                                                                          \
		"templates", 0, "DIR", "folder of the dashboards"                                  \
	}

static const struct sonde_cli_flag install_flags[] = {
	OAP_FLAGS,
	{"dry-run", 0, NULL, "say what it would do, change nothing"},
	{"force", 0, NULL, "replace those too that were edited, or come from a newer sonde"},
	{0},
};

static const struct sonde_cli_flag oap_status_flags[] = {
	OAP_FLAGS,
	{"rules", 0, "DIR", "folder of the rule files"},
	{0},
};

static const struct sonde_cli_flag compare_flags[] = {
	{"window", 0, "T1..T2", "only this time of A; given again, of B"},
	{"threshold", 0, "PERCENT", "a smaller change is none (default 10%)"},
	{"min-samples", 0, "N", "no verdict on fewer (default 50)"},
	{"exit-code", 0, NULL, "exit 1 if an edge differs"},
	{0},
};

static const struct sonde_cli_flag export_flags[] = {
	{"to", 0, "FILE", "write there, whole or not at all; - is stdout"},
	{0},
};

static const struct sonde_cli_flag import_flags[] = {
	{"as", 0, "ID", "the task's id there, where its own is taken"},
	{0},
};

static const struct sonde_cli_flag audit_flags[] = {
	{"since", 0, "TIME", "from then on: RFC 3339, or 2h, which is so long ago"},
	{"until", 0, "TIME", "before then, likewise"},
	PAGE_FLAGS,
	SONDE_WATCH_FLAGS,
	{0},
};

static const struct sonde_cli_flag policy_get_flags[] = {
	{"document", 0, NULL, "only what `policy set -f` takes, as YAML or as -o says"},
	{0},
};

static const struct sonde_cli_flag policy_set_flags[] = {
	{"file", 'f', "FILE", "YAML or JSON, also that of swctl; - is stdin"},
	{0},
};

static const struct sonde_cli_flag version_flags[] = {
	{"client", 0, NULL, "only its own"},
	{0},
};

const struct sonde_cli_command sonde_cli_commands[] = {
	{"run", "TARGET...", "create a task, watch it, print what it saw", run_flags, 0,
	 SONDE_CLI_OPERANDS_MAX, false, sonde_cli_run},
	{"targets list", "[KIND]", "processes that agents report, or their hosts or services",
	 targets_flags, 0, 1, false, sonde_cli_targets_list, "targets", "process_id", true},
	{"targets get", "TARGET", "all that is known of a process or a service's", NULL, 1, 1,
	 false, sonde_cli_targets_get, "targets", "process_id"},
	{"agents list", "", "agents, when they were last heard, what hinders them", list_flags, 0,
	 0, false, sonde_cli_agents_list, "agents", "agent_id", true},
	{"agents get", "AGENT", "all that is known of one", NULL, 1, 1, false, sonde_cli_agents_get,
	 NULL, "agent_id"},
	{"agents top", "", "what they take for the tasks that run", list_flags, 0, 0, false,
	 sonde_cli_agents_top, "agents", "agent_id", true},
	{"task create", "TARGET...", "create a task and print its id", create_flags, 0,
	 SONDE_CLI_OPERANDS_MAX, false, sonde_cli_task_create, NULL, "id"},
	{"task presets", "", "tasks that are ready to be made, for --preset", NULL, 0, 0, true,
	 sonde_cli_task_presets, "presets", "name", true},
	{"task list", "", "the newest 200 tasks", list_flags, 0, 0, false, sonde_cli_task_list,
	 "tasks", "id", true},
	{"task get", "TASK", "a task's states, targets, probes and cost", NULL, 1, 1, false,
	 sonde_cli_task_get, NULL, "id"},
	{"task wait", "TASK", "wait until it runs or has ended", wait_flags, 1, 1, false,
	 sonde_cli_task_wait, NULL, "id"},
	{"task stop", "TASK", "end it now; what it saw is kept", stop_flags, 1, 1, false,
	 sonde_cli_task_stop, NULL, "id"},
	{"task extend", "TASK TIME", "let it run longer", NULL, 2, 2, false, sonde_cli_task_extend,
	 NULL, "id"},
	{"task watch", "TASK", "each change of it, as it comes", watch_flags, 1, 1, false,
	 sonde_cli_task_watch, NULL, "event"},
	{"task attach", "TASK", "watch one that runs, print what it saw, as `run` does",
	 attach_flags, 1, 1, false, sonde_cli_task_attach},
	{"task logs", "TASK", "its time line: states, and the words for them", logs_flags, 1, 1,
	 false, sonde_cli_task_logs, NULL, "state"},
	{"task clone", "TASK [TARGET...]", "create the same task once more and print its id",
	 clone_flags, 1, SONDE_CLI_OPERANDS_MAX, false, sonde_cli_task_clone, NULL, "id"},
	{"task delete", "TASK...", "forget tasks that have ended, with all that they measured",
	 NULL, 1, SONDE_CLI_OPERANDS_MAX, false, sonde_cli_task_delete},
	{"doctor", "[AGENT]", "what an agent's machine lets be measured, and by which probe", NULL,
	 0, 1, false, sonde_cli_doctor},
	{"topology", "TASK", "who talks to whom, and how well", topology_flags, 1, 1, false,
	 sonde_cli_topology, "edges", "id"},
	{"drops", "TASK", "what was dropped, when, and what that means", drops_flags, 1, 1, false,
	 sonde_cli_drops, "drops", NULL, true},
	{"rtt", "TASK [EDGE]", "how long acknowledgements took", rtt_flags, 1, 2, false,
	 sonde_cli_rtt, "ends", NULL, true},
	{"metrics", "TASK [EDGE]", "totals or series of a task's metrics", metrics_flags, 1, 2,
	 false, sonde_cli_metrics, "metrics", "metric", true},
	{"flows", "TASK", "its connections, one by one", flows_flags, 1, 1, false, sonde_cli_flows,
	 "flows", "id", true},
	{"host", "TASK", "what the kernel counted meanwhile, and the targets' part", NULL, 1, 1,
	 false, sonde_cli_host},
	{"loss", "TASK", "what was not counted, and why", loss_flags, 1, 1, false, sonde_cli_loss},
	{"compare", "A [B]", "two tasks, or two windows of one: what differs beyond noise",
	 compare_flags, 1, 2, false, sonde_cli_compare, "edges", NULL, true},
	{"export", "TASK", "a task as a file: -o FILE.tar.zst, csv, json or openmetrics",
	 export_flags, 1, 1, false, sonde_cli_export, NULL, NULL, false, true},
	{"import", "FILE", "a bundle into a server, as a task that has ended", import_flags, 1, 1,
	 false, sonde_cli_import, NULL, "id"},
	{"policy list", "", "tasks that the server makes by itself, by service", list_flags, 0, 0,
	 false, sonde_cli_policy_list, "policies", "service", true},
	{"policy get", "SERVICE", "a service's policy, who watches it, what came of it",
	 policy_get_flags, 1, 1, false, sonde_cli_policy_get, NULL, "service"},
	{"policy set", "[SERVICE]", "set it: thresholds, schedules", policy_set_flags, 0, 1, false,
	 sonde_cli_policy_set, NULL, "service"},
	{"policy delete", "SERVICE...", "forget it; its tasks stay", NULL, 1,
	 SONDE_CLI_OPERANDS_MAX, false, sonde_cli_policy_delete},
	{"audit", "", "who changed what on the server, and who was refused", audit_flags, 0, 0,
	 false, sonde_cli_audit, "entries", NULL, true},
	{"mal check", "FILE...", "whether an OAP takes rule files, and what they may not mean",
	 mal_check_flags, 1, SONDE_CLI_OPERANDS_MAX, true, sonde_cli_mal_check},
	{"mal eval", "[FILE]", "what rules make of samples", mal_eval_flags, 0, 1, true,
	 sonde_cli_mal_eval},
	{"skywalking install", "", "put our dashboards into a SkyWalking OAP", install_flags, 0, 0,
	 true, sonde_cli_skywalking_install},
	{"skywalking status", "", "which of our dashboards and rule files an OAP has",
	 oap_status_flags, 0, 0, true, sonde_cli_skywalking_status},
	{"completion", "SHELL", "a shell's completion script", NULL, 1, 1, true,
	 sonde_cli_completion},
	{"__complete", "WORD...", "what may stand next, for the scripts of completion", NULL, 1,
	 SONDE_CLI_OPERANDS_MAX, true, sonde_cli_complete},
	{"config view", "", "the settings that are in force", NULL, 0, 0, true,
	 sonde_cli_config_view},
	{"config set", "KEY VALUE", "set one in the config file, or contexts.NAME.KEY", NULL, 2, 2,
	 true, sonde_cli_config_set},
	{"config use-context", "CONTEXT", "which server is asked from now on", NULL, 1, 1, true,
	 sonde_cli_config_use_context},
	{"version", "", "the version, and the server's", version_flags, 0, 0, true,
	 sonde_cli_version},
	{"api-resources", "", "what the server can be asked for", NULL, 0, 0, false,
	 sonde_cli_api_resources, "resources", "path", true},
	{0},
};
