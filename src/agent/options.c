/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/kafka-options.h"
#include "agent/link.h"
#include "agent/rules.h"
#include "export/spool.h"
#include "model/probe-msg.h"

#define C struct sonde_agent_config
#define R struct sonde_agent_rule

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};
static const char *const orders[] = {"listed", "random", NULL};
static const char *const peers[] = {"auto", "address", "unknown", NULL};
static const char *const exports[] = {"grpc", "kafka", NULL};
static const char *const sasls[] = {"none", "plain", "scram-sha-256", "scram-sha-512", NULL};
static const char *const on_unknown[] = {"drop", "resend", NULL};
static const char *const spool_fsyncs[] = {"segment", "always", "never", NULL};

static const struct sonde_option rule_options[] = {
	SONDE_OPTION_STRING(R, "executable", executable, "", "255",
			    "glob over the path of the executable"),
	SONDE_OPTION_STRING(R, "command", command, "", "255",
			    "regular expression that the command line contains"),
	SONDE_OPTION_PORT(R, "port", port, "0", "0", "TCP port that the process listens on"),
	SONDE_OPTION_STRING(R, "service", service, "{exe}", "255",
			    "name of the service; {exe}, {pid}, {host} and {port} are filled in"),
	SONDE_OPTION_STRING(R, "instance", instance, "{host}", "255", "name of the instance"),
	SONDE_OPTION_STRING(R, "process_name", process_name, "{exe}", "255",
			    "name of the process; processes of one name are one to the backend"),
	SONDE_OPTION_STRING(
		R, "layer", layer, "GENERAL", "32",
		"SkyWalking layer; one that the backend does not know keeps its processes "
		"from being kept alive there"),
	SONDE_OPTION_STRINGS(R, "labels", labels, NULL, "16",
			     "words by which SkyWalking groups processes of a service"),
	{0},
};

static const struct sonde_option options[] = {
	SONDE_OPTION_STRING(C, "backend.host", backend_host, "127.0.0.1", "255",
			    "name or address of sonde-server or of an OAP"),
	SONDE_OPTION_PORT(C, "backend.port", backend_port, "11800", "1", "its gRPC port"),
	SONDE_OPTION_STRINGS(C, "backend.addresses", backend_addresses, "", "16",
			     "several, instead of host and port: HOST:PORT each, an IPv6 address "
			     "in brackets; the next one is tried when one fails"),
	SONDE_OPTION_ENUM(C, "backend.order", backend_order, "listed", orders,
			  "which address is tried first: that listed first, or any"),
	SONDE_OPTION_DURATION(
		C, "backend.max_age", backend_max_age_ns, "0s", "0s", "168h",
		"after it a connection is made anew, beginning with the address that is "
		"tried first, and calls move there; 0s = never"),
	SONDE_OPTION_STRING(C, "backend.authentication", backend_authentication, "", "1024",
			    "token that is sent as metadata `authentication` with every call; the "
			    "file may then not be everyone's to read",
			    .flags = SONDE_OPTION_SECRET),
	SONDE_OPTION_PATH(
		C, "backend.authentication_file", backend_authentication_file, "",
		"file that holds the token, instead of backend.authentication; read anew at each "
		"connection and refusal; may not "
		"be everyone's to read"),
	SONDE_OPTION_BOOL(C, "backend.tls.enabled", tls_enabled, "false",
			  "TLS 1.2 or 1.3; the peer must offer HTTP/2 by ALPN"),
	SONDE_OPTION_PATH(C, "backend.tls.ca_file", tls_ca_file, "",
			  "PEM file of the roots that are trusted; empty = the system's"),
	SONDE_OPTION_PATH(C, "backend.tls.cert_file", tls_cert_file, "",
			  "PEM file of our certificate and its chain, for mutual TLS; read anew at "
			  "each connection, as the other two"),
	SONDE_OPTION_PATH(
		C, "backend.tls.key_file", tls_key_file, "",
		"PEM file of its key, without a passphrase; may not be everyone's to read"),
	SONDE_OPTION_STRING(
		C, "backend.tls.server_name", tls_server_name, "", "255",
		"name that the peer's certificate must be for; empty = the host of the address"),
	SONDE_OPTION_BOOL(C, "backend.tls.insecure_skip_verify", tls_insecure_skip_verify, "false",
			  "take whoever answers for the backend; warned of at each connection"),
	SONDE_OPTION_DURATION(
		C, "backend.connect_timeout", backend_connect_timeout_ns, "5s", "100ms", "1m",
		"how long a connection to one address, and a look-up of names, may take"),
	SONDE_OPTION_DURATION(C, "backend.deadline", backend_deadline_ns, "10s", "100ms", "5m",
			      "how long a call may take"),
	SONDE_OPTION_DURATION(C, "backend.poll", poll_ns, "10s", "100ms", "5m",
			      "how often tasks are asked for"),
	SONDE_OPTION_DURATION(
		C, "backend.heartbeat", heartbeat_ns, "20s", "1s", "2m",
		"how often processes are kept alive; every tenth time all are reported"),
	SONDE_OPTION_DURATION(C, "processes.scan", scan_ns, "5s", "500ms", "10m",
			      "how often /proc is looked through"),
	SONDE_OPTION_UINT(C, "processes.max", max_processes, "32768", "1", "1000000",
			  "processes that are looked at; the rest is not seen"),
	SONDE_OPTION_LIST(
		C, "processes.rules", rules, n_rules, rule_options, "256",
		"which processes are reported and under which names; the first match wins"),
	SONDE_OPTION_UINT(C, "report.queue_reports", queue_reports, "256", "1", "100000",
			  "reports kept in memory while the backend is away"),
	SONDE_OPTION_BYTES(C, "report.queue_bytes", queue_bytes, "32MiB", "64KiB", "1GiB",
			   "their bytes together"),
	SONDE_OPTION_ENUM(C, "report.on_unknown", on_unknown, "drop", on_unknown,
			  "a report that an OAP may have taken: drop it, or send it again"),
	SONDE_OPTION_DURATION(C, "skywalking.report_interval", report_interval_ns, "2s", "100ms",
			      "1m", "how often a task that came from an OAP is reported"),
	SONDE_OPTION_ENUM(C, "skywalking.peers", peers, "auto", peers,
			  "how an OAP is told of a peer outside the instance: by its address, for "
			  "which its rules need the Kubernetes API, or as unknown; auto = by its "
			  "address in a Kubernetes pod, else unknown"),
	SONDE_OPTION_PATH(C, "spool.dir", spool_dir, "",
			  "folder of reports that wait on disk; empty = spool in the state folder"),
	SONDE_OPTION_BYTES(C, "spool.max_bytes", spool_max_bytes, "256MiB", "0", "16GiB",
			   "its bound (1MiB at least), the oldest make room; 0 = no spool"),
	SONDE_OPTION_DURATION(C, "spool.max_age", spool_max_age_ns, "24h", "1m", "8760h",
			      "older reports are dropped instead of sent"),
	SONDE_OPTION_ENUM(
		C, "spool.fsync", spool_fsync, "segment", spool_fsyncs,
		"what a power cut may cost: what segment = the last 4 MiB, always = nothing that is on "
		"disk (see spool.after), at a wait for it per report, never = what the kernel has not written"),
	SONDE_OPTION_DURATION(
		C, "spool.after", spool_after_ns, "1s", "0s", "1m",
		"how long a report waits for its answer before it goes to disk, with all behind it; "
		"0s = before it is sent, so that a crash of the agent loses none"),
	SONDE_OPTION_BOOL(C, "skywalking.continuous.enabled", continuous, "true",
			  "watch the thresholds that a backend's policies name, nothing attached, "
			  "and run the network tasks that they lead to"),
	SONDE_OPTION_DURATION(C, "skywalking.continuous.check", continuous_check_ns, "5s", "1s",
			      "10m", "how often it is looked whether a threshold was reached"),
	SONDE_OPTION_DURATION(C, "skywalking.continuous.duration", continuous_duration_ns, "10m",
			      "1s", "30m", "how long such a task runs"),
	SONDE_OPTION_DURATION(C, "skywalking.continuous.silence", continuous_silence_ns, "20m",
			      "1s", "24h",
			      "how long after a task was asked for its instance leads to no other"),
	SONDE_OPTION_ENUM(
		C, "export", export, "grpc", exports,
		"which way meters go to an OAP: with all the rest, or through Kafka to its "
		"kafka-fetcher; tasks and processes stay with backend"),
	SONDE_OPTION_STRINGS(C, "kafka.brokers", kafka_brokers, "", "16",
			     "brokers to begin with: HOST:PORT each, an IPv6 address in brackets"),
	SONDE_OPTION_STRING(
		C, "kafka.namespace", kafka_namespace, "", "100",
		"namespace of the OAP's kafka-fetcher (SW_NAMESPACE); stands before each topic, "
		"with a hyphen"),
	SONDE_OPTION_STRING(C, "kafka.meters_topic", kafka_meters_topic, "skywalking-meters", "140",
			    "topic of the meters"),
	SONDE_OPTION_STRING(
		C, "kafka.managements_topic", kafka_managements_topic, "skywalking-managements",
		"140",
		"topic of the agent's own instance and its heartbeat; empty = they stay with backend"),
	SONDE_OPTION_BOOL(C, "kafka.tls.enabled", kafka_tls_enabled, "false",
			  "TLS to the brokers, each of which must have a certificate for its name"),
	SONDE_OPTION_PATH(
		C, "kafka.tls.ca_file", kafka_tls_ca_file, "",
		"PEM file of the roots that are trusted; empty = the system's. It and the "
		"other files are read at the agent's start"),
	SONDE_OPTION_PATH(C, "kafka.tls.cert_file", kafka_tls_cert_file, "",
			  "PEM file of our certificate and its chain, for mutual TLS"),
	SONDE_OPTION_PATH(
		C, "kafka.tls.key_file", kafka_tls_key_file, "",
		"PEM file of its key, without a passphrase; may not be everyone's to read"),
	SONDE_OPTION_BOOL(C, "kafka.tls.insecure_skip_verify", kafka_tls_insecure_skip_verify,
			  "false", "take whoever answers for a broker; warned of at the start"),
	SONDE_OPTION_ENUM(C, "kafka.sasl.mechanism", kafka_sasl, "none", sasls,
			  "how the agent says who it is, beside a certificate"),
	SONDE_OPTION_STRING(C, "kafka.sasl.username", kafka_sasl_username, "", "255",
			    "its name there"),
	SONDE_OPTION_PATH(
		C, "kafka.sasl.password_file", kafka_sasl_password_file, "",
		"file that holds its password, read at the start; may not be everyone's to read"),
	SONDE_OPTION_STRINGS(
		C, "kafka.properties", kafka_properties, NULL, "32",
		"properties of librdkafka, NAME=VALUE each, for what has no key here; which "
		"ones is in config/oap.md"),
	SONDE_OPTION_STRING(C, "agent.service", service, "sonde-agent", "70",
			    "the service that the agent itself is registered under"),
	SONDE_OPTION_STRING(C, "agent.instance", instance, "{host}", "70",
			    "its instance; {host} is filled in"),
	SONDE_OPTION_PATH(C, "agent.proc", proc, "/proc", "where the process file system is"),
	SONDE_OPTION_ENUM(C, "log.level", log_level, "info", log_levels, "what is logged"),
	{0},
};

static const struct sonde_config_action actions[] = {
	{"probe", "FILE", "the sonde-probe to start (default: beside this program)"},
	{"policy", "FILE", "the node's policy file, for the probe (default: its own)"},
	{"state-dir", "DIR",
	 "where the probe notes the ids of what it loads, and the spool is (default: " SONDE_PROBE_STATE_DIR
	 ")"},
	{"doctor", NULL, "say which metric has which probe on this kernel, and why not"},
	{"idle-proof", NULL, "ask the kernel whether anything of ours is left loaded"},
	{"import-rover", "FILE",
	 "print the agent.yaml that a configuration of SkyWalking Rover comes to, its ROVER_* "
	 "variables included; - is standard input"},
	{"check-bpf", NULL, "say whether BPF may be used; exit status 8 if not"},
	{"json", NULL,
	 "with --doctor, --idle-proof and --check-bpf: answer in JSON (also: -o json)"},
	{0},
};

static int check(const void *vc, char **ret_error)
{
	const C *c = vc;
	int e;

	if (c->spool_max_bytes && c->spool_max_bytes < SONDE_SPOOL_BYTES_MIN)
		return sonde_config_refuse(ret_error, "spool.max_bytes: 0 or at least 1MiB");
	for (size_t i = 0; i < c->n_rules; i++) {
		const R *r = &c->rules[i];
		char words[SONDE_RULES_WORDS_MAX] = "";

		if (sonde_rules_check(r, words) < 0)
			return sonde_config_refuse(ret_error, "processes.rules[%zu]: %s", i, words);
	}
	e = sonde_kafka_options_check(c, ret_error);
	return e < 0 ? e : sonde_link_check(c, ret_error);
}

const struct sonde_config_spec sonde_agent_config_spec = {
	.program = "sonde-agent",
	.summary = "Runs on each node: takes tasks, names processes, reports what their TCP does",
	.exits = "8 privilege is missing or the kernel lacks a feature",
	.env_prefix = "SONDE_AGENT_",
	.default_file = "/etc/sonde/agent.yaml",
	.size = sizeof(C),
	.options = options,
	.check = check,
	.actions = actions,
};
