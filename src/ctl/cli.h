/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Cli: what every command of `sonde` is given. Data goes to stdout, all else to
 * stderr; a command returns its exit status. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"

/* Exit statuses, told to scripts: never renumber. 130 and 143 are for SIGINT and SIGTERM. */
enum sonde_cli_exit {
	SONDE_CLI_OK = 0,
	SONDE_CLI_NO = 1,	   /* the answer is "no" */
	SONDE_CLI_USAGE = 2,	   /* a wrong flag, argument, file or config */
	SONDE_CLI_NOT_FOUND = 3,   /* no such task, target, preset */
	SONDE_CLI_REFUSED = 4,	   /* by the backend or the agent; its words are printed */
	SONDE_CLI_UNREACHABLE = 5, /* no backend at the URL */
	SONDE_CLI_TIMEOUT = 6,
	SONDE_CLI_LOSS = 7,	   /* more lost than --max-loss allows */
	SONDE_CLI_UNSUPPORTED = 8, /* privilege or kernel lacks a feature */
	SONDE_CLI_INTERNAL = 9,
	SONDE_CLI_SIGINT = 130,
	SONDE_CLI_SIGTERM = 143,
};

/* What a command is to make; -o says more, which output.h takes care of. */
enum sonde_cli_output {
	SONDE_CLI_TABLE = 0,
	SONDE_CLI_WIDE,
	SONDE_CLI_JSON, /* JSON for sonde_cli_print_json() or _value(), which know the form */
	SONDE_CLI_DOT,
	SONDE_CLI_MERMAID,
};

enum sonde_cli_color {
	SONDE_CLI_COLOR_AUTO = 0,
	SONDE_CLI_COLOR_ALWAYS,
	SONDE_CLI_COLOR_NEVER,
};

/* A server and what belongs to it (settings.h). */
struct sonde_cli_context {
	char *name, *server, *token, *token_file, *ca, *cert, *key;
};

/* ~/.config/sonde/config.yaml < SONDE_* < flags. */
struct sonde_cli_settings {
	char *server, *ca, *cert, *key;
	char *tasks_dir;
	char *token, *token_file;
	char *context;
	struct sonde_cli_context *contexts;
	size_t n_contexts;
	char *oap, *oap_token, *oap_basic;
	uint64_t request_timeout_ns;
	int output; /* enum sonde_cli_form (output.h) */
	int color;  /* enum sonde_cli_color */
	bool utc;
};

/* A flag of a command. Tables end with an all-zero row. */
struct sonde_cli_flag {
	const char *name; /* without dashes */
	char letter;	  /* 0 = none */
	const char *arg;  /* name of its value in --help, NULL = none */
	const char *help;
};

struct sonde_cli;

struct sonde_cli_command {
	const char *name;     /* one or two words */
	const char *operands; /* "TASK [EDGE]" for --help */
	const char *summary;
	const struct sonde_cli_flag *flags; /* NULL = only the global ones */
	size_t min_operands;
	size_t max_operands;
	bool offline;			   /* needs no server */
	int (*run)(struct sonde_cli *cli); /* an exit status */
	/* what -o can make of it (output.h) */
	const char *items;     /* member of the answer that is a list; NULL = it is one object */
	const char *item_name; /* member of an item, or of the object, for -o name; NULL = none */
	bool one_table;	       /* prints one table and no more: -o csv and --columns are possible */
	bool own_output;       /* -o is the command's own matter, and no form of output.h */
};

#define SONDE_CLI_OPERANDS_MAX 256
#define SONDE_CLI_FLAGS_MAX 64

struct sonde_cli_given {
	const struct sonde_cli_flag *flag;
	const char *value; /* borrowed from argv; "" for a flag without value */
};

struct sonde_rest;

struct sonde_cli {
	FILE *out;
	FILE *err;
	bool out_tty;
	bool err_tty;
	bool out_color;
	bool err_color;
	unsigned int width; /* columns of the table; 0 = nothing is cut */
	bool headers;
	bool quiet;
	bool verbose;
	bool headed;   /* something stands above the next heading */
	bool cut_told; /* that a table lost text to the width, once a command */
	bool away;     /* a request of this command had no answer of the server */
	struct sonde_cli_settings *settings; /* owned */
	struct sonde_rest *rest;	     /* owned; NULL for an offline command */
	const struct sonde_cli_command *command;
	const char *items;    /* the answer's list where the command's own is another; borrowed */
	const char *jsonpath; /* of -o jsonpath=EXPR, borrowed from argv; NULL = another form */
	const char *program_dir; /* folder of the executable, "" = unknown; borrowed */
	/* what the command line gave */
	struct sonde_cli_given given[SONDE_CLI_FLAGS_MAX];
	size_t n_given;
	const char *operands[SONDE_CLI_OPERANDS_MAX];
	size_t n_operands;
};

/* All of `sonde` but the process: main() calls it, and so do tests. Returns the exit status. */
int sonde_cli_main(struct sonde_cli *cli, int argc, char *const *argv);

/* All commands, for help, completion and tests. Ends with an all-zero row. */
extern const struct sonde_cli_command sonde_cli_commands[];
extern const struct sonde_cli_flag sonde_cli_global_flags[];

/* The value of --@name as given last ("" for one without a value); NULL: not given. */
const char *sonde_cli_flag(const struct sonde_cli *cli, const char *name);

enum sonde_cli_output sonde_cli_output(const struct sonde_cli *cli);

/* "sonde: WORDS" on stderr, control bytes escaped. Returns @status. */
int sonde_cli_fail(struct sonde_cli *cli, int status, const char *fmt, ...) _printf_(3, 4);

/* The same for a note that --quiet silences. */
void sonde_cli_note(struct sonde_cli *cli, const char *fmt, ...) _printf_(2, 3);

/* fail() for -errno of our own making: memory and writing. */
int sonde_cli_broken(struct sonde_cli *cli, int err);

/* The commands, one function each. */
int sonde_cli_targets_list(struct sonde_cli *cli);
int sonde_cli_targets_get(struct sonde_cli *cli);
int sonde_cli_agents_list(struct sonde_cli *cli);
int sonde_cli_agents_get(struct sonde_cli *cli);
int sonde_cli_agents_top(struct sonde_cli *cli);
int sonde_cli_task_create(struct sonde_cli *cli);
int sonde_cli_task_get(struct sonde_cli *cli);
int sonde_cli_task_list(struct sonde_cli *cli);
int sonde_cli_task_stop(struct sonde_cli *cli);
int sonde_cli_task_extend(struct sonde_cli *cli);
int sonde_cli_task_wait(struct sonde_cli *cli);
int sonde_cli_task_watch(struct sonde_cli *cli);
int sonde_cli_task_attach(struct sonde_cli *cli);
int sonde_cli_task_logs(struct sonde_cli *cli);
int sonde_cli_task_delete(struct sonde_cli *cli);
int sonde_cli_task_clone(struct sonde_cli *cli);
int sonde_cli_run(struct sonde_cli *cli);
int sonde_cli_doctor(struct sonde_cli *cli);
/* --dry-run of run and task create */
int sonde_cli_dry_run(struct sonde_cli *cli);
int sonde_cli_topology(struct sonde_cli *cli);
int sonde_cli_drops(struct sonde_cli *cli);
int sonde_cli_rtt(struct sonde_cli *cli);
int sonde_cli_metrics(struct sonde_cli *cli);
int sonde_cli_flows(struct sonde_cli *cli);
int sonde_cli_loss(struct sonde_cli *cli);
int sonde_cli_host(struct sonde_cli *cli);
int sonde_cli_task_presets(struct sonde_cli *cli);
int sonde_cli_compare(struct sonde_cli *cli);
int sonde_cli_export(struct sonde_cli *cli);
int sonde_cli_import(struct sonde_cli *cli);
int sonde_cli_audit(struct sonde_cli *cli);
int sonde_cli_policy_list(struct sonde_cli *cli);
int sonde_cli_policy_get(struct sonde_cli *cli);
int sonde_cli_policy_set(struct sonde_cli *cli);
int sonde_cli_policy_delete(struct sonde_cli *cli);
int sonde_cli_mal_check(struct sonde_cli *cli);
int sonde_cli_mal_eval(struct sonde_cli *cli);
int sonde_cli_skywalking_install(struct sonde_cli *cli);
int sonde_cli_skywalking_status(struct sonde_cli *cli);
int sonde_cli_completion(struct sonde_cli *cli);
int sonde_cli_complete(struct sonde_cli *cli);
int sonde_cli_version(struct sonde_cli *cli);
int sonde_cli_api_resources(struct sonde_cli *cli);
int sonde_cli_config_view(struct sonde_cli *cli);
int sonde_cli_config_set(struct sonde_cli *cli);
int sonde_cli_config_use_context(struct sonde_cli *cli);
