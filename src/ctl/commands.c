/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of commands: dispatch, help and completion come from it. */
#include "ctl/cli.h"

const struct sonde_cli_flag sonde_cli_global_flags[] = {
	{"server", 0, "URL", "the server's REST address"},
	{"ca", 0, "FILE", "roots that an https server is checked by"},
	{"cert", 0, "FILE", "our own certificate"},
	{"key", 0, "FILE", "its key"},
	{"output", 'o', "FORMAT", "table, wide or json; of topology also dot and mermaid"},
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

static const struct sonde_cli_flag targets_flags[] = {
	{"search", 0, "TEXT", "only rows that contain TEXT"},
	{0},
};

static const struct sonde_cli_flag wait_flags[] = {
	{"for", 0, "STATE", "running or done (default; any final state ends the wait)"},
	{"timeout", 0, "TIME", "give up after TIME, exit 6"},
	LOSS_FLAG,
	{0},
};

static const struct sonde_cli_flag stop_flags[] = {
	{"reason", 0, "TEXT", "why, for the task's time line"},
	{0},
};

static const struct sonde_cli_flag metrics_flags[] = {
	{"metric", 'm', "NAME", "only this metric"},
	{"step", 0, "STEP", "its series, 10s or 1m, instead of totals"},
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

const struct sonde_cli_command sonde_cli_commands[] = {
	{"run", "TARGET...", "create a task, watch it, print what it saw", run_flags, 0,
	 SONDE_CLI_OPERANDS_MAX, false, sonde_cli_run},
	{"targets list", "", "processes that agents report", targets_flags, 0, 0, false,
	 sonde_cli_targets_list},
	{"agents list", "", "agents, when they were last heard, what hinders them", NULL, 0, 0,
	 false, sonde_cli_agents_list},
	{"task create", "TARGET...", "create a task and print its id", create_flags, 0,
	 SONDE_CLI_OPERANDS_MAX, false, sonde_cli_task_create},
	{"task list", "", "the newest 200 tasks", NULL, 0, 0, false, sonde_cli_task_list},
	{"task get", "TASK", "a task's states, targets, probes and cost", NULL, 1, 1, false,
	 sonde_cli_task_get},
	{"task wait", "TASK", "wait until it runs or has ended", wait_flags, 1, 1, false,
	 sonde_cli_task_wait},
	{"task stop", "TASK", "end it now; what it saw is kept", stop_flags, 1, 1, false,
	 sonde_cli_task_stop},
	{"task extend", "TASK TIME", "let it run longer", NULL, 2, 2, false, sonde_cli_task_extend},
	{"doctor", "[AGENT]", "what an agent's machine lets be measured, and by which probe", NULL,
	 0, 1, false, sonde_cli_doctor},
	{"topology", "TASK", "who talks to whom, and how well", NULL, 1, 1, false,
	 sonde_cli_topology},
	{"metrics", "TASK [EDGE]", "totals or series of a task's metrics", metrics_flags, 1, 2,
	 false, sonde_cli_metrics},
	{"flows", "TASK", "its connections, one by one", flows_flags, 1, 1, false, sonde_cli_flows},
	{"host", "TASK", "what the kernel counted meanwhile, and the targets' part", NULL, 1, 1,
	 false, sonde_cli_host},
	{"loss", "TASK", "what was not counted, and why", loss_flags, 1, 1, false, sonde_cli_loss},
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
	{"version", "", "the version", NULL, 0, 0, true, sonde_cli_version},
	{0},
};
