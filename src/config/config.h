/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Config: YAML file < environment < flags -> one typed struct, all from one
 * option table, which also makes --help, --dump-config and the reference page.
 * Everything is parsed and checked before anything is given out, so a bad
 * reload leaves the old config alone. The file is hostile. One thread.
 *
 *	struct agent_config { uint64_t poll_ns; char *service; struct rule *rules; size_t n_rules; };
 *	static const struct sonde_option options[] = {
 *		SONDE_OPTION_DURATION(struct agent_config, "backend.poll", poll_ns, "10s", "100ms", "5m",
 *				      "how often tasks are asked for"),
 *		SONDE_OPTION_STRING(struct agent_config, "service", service, "", "255", "name of …"),
 *		SONDE_OPTION_LIST(struct agent_config, "processes.rules", rules, n_rules, rule_options, "64", "…"),
 *		{0},
 *	};
 *	const struct sonde_config_spec spec = {"sonde-agent", "…", "SONDE_AGENT_", "/etc/sonde/agent.yaml",
 *					       sizeof(struct agent_config), options};
 *
 * The environment name of "backend.poll" is SONDE_AGENT_BACKEND_POLL, its flag
 * --backend-poll. Lists of mappings have neither. A secret (SONDE_OPTION_SECRET)
 * has no flag, since `ps` shows flags, and is dumped as "***".
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"

#define SONDE_CONFIG_FILE_MAX (256UL * 1024) /* bytes of a config file */
#define SONDE_CONFIG_KEY_MAX 128	     /* bytes of a dotted key */
#define SONDE_CONFIG_ERRORS_MAX 20	     /* complaints listed at once */
#define SONDE_CONFIG_EXIT_USAGE 2	     /* exit status for a bad flag or config */

enum sonde_option_type {
	SONDE_OPTION_TYPE_BOOL = 0, /* bool: true, false */
	SONDE_OPTION_TYPE_UINT,	    /* uint64_t */
	SONDE_OPTION_TYPE_INT,	    /* int64_t */
	SONDE_OPTION_TYPE_DURATION, /* uint64_t ns: "10s" */
	SONDE_OPTION_TYPE_BYTES,    /* uint64_t: "16MiB" */
	SONDE_OPTION_TYPE_PORT,	    /* uint16_t; 0 only where min is 0 */
	SONDE_OPTION_TYPE_STRING,   /* char *, never NULL after a load; max = bytes */
	SONDE_OPTION_TYPE_PATH,	    /* char *, as STRING, without control bytes */
	SONDE_OPTION_TYPE_ENUM,	    /* int: index in names */
	SONDE_OPTION_TYPE_STRINGS,  /* char **, NULL-ended, NULL while empty; max = entries */
	SONDE_OPTION_TYPE_LIST,	    /* array of structs and a size_t count */
	_SONDE_OPTION_TYPE_MAX,
};

enum sonde_option_flags {
	SONDE_OPTION_SECRET = 1 << 0,	/* never shown, no flag */
	SONDE_OPTION_REQUIRED = 1 << 1, /* must be given and not empty */
	SONDE_OPTION_NO_FLAG = 1 << 2,	/* file and environment only */
};

/* A row. A table ends with an all-zero row. Everything is borrowed for ever. */
struct sonde_option {
	const char *key; /* dotted; within a list's table relative to the element */
	enum sonde_option_type type;
	size_t offset;
	const char *
		fallback; /* the default as written in YAML; of STRINGS comma separated; NULL = empty */
	const char *min;	  /* as written in YAML; NULL = 0, or the type's smallest */
	const char *max;	  /* as written in YAML; NULL = the type's largest */
	const char *const *names; /* ENUM: NULL-ended */
	const char *help;	  /* one sentence, no full stop */
	unsigned int flags;	  /* enum sonde_option_flags */
	size_t said_offset; /* BOOL without fallback: of the bool that becomes true with the key; 0 = none */
	/* LIST only */
	const struct sonde_option *element; /* table of the element's keys */
	size_t element_size;
	size_t count_offset; /* of the size_t count beside the array */
};

/* A row's offset, refusing at build time a field of another type than @ctype. */
#define SONDE_OPTION_OFFSET_(type_, field_, ctype_)                                                \
	(offsetof(type_, field_) +                                                                 \
	 0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((type_ *)0)->field_), ctype_)    \
				 ? 1                                                               \
				 : -1]))
#define SONDE_OPTION_ROW_(t_, type_, ctype_, key_, field_, fallback_, min_, max_, help_, ...)      \
	{                                                                                          \
		.key = (key_), .type = SONDE_OPTION_TYPE_##t_,                                     \
		.offset = SONDE_OPTION_OFFSET_(type_, field_, ctype_), .fallback = (fallback_),    \
		.min = (min_), .max = (max_), .help = (help_), __VA_ARGS__                         \
	}

/* Limits and defaults are text as in the file: "10s", "16MiB", "1". Trailing arguments: `.flags = …`. */
#define SONDE_OPTION_BOOL(type, key, field, def, help, ...)                                        \
	SONDE_OPTION_ROW_(BOOL, type, bool, key, field, def, NULL, NULL, help, __VA_ARGS__)
#define SONDE_OPTION_UINT(type, key, field, def, min, max, help, ...)                              \
	SONDE_OPTION_ROW_(UINT, type, uint64_t, key, field, def, min, max, help, __VA_ARGS__)
#define SONDE_OPTION_INT(type, key, field, def, min, max, help, ...)                               \
	SONDE_OPTION_ROW_(INT, type, int64_t, key, field, def, min, max, help, __VA_ARGS__)
#define SONDE_OPTION_DURATION(type, key, field, def, min, max, help, ...)                          \
	SONDE_OPTION_ROW_(DURATION, type, uint64_t, key, field, def, min, max, help, __VA_ARGS__)
#define SONDE_OPTION_BYTES(type, key, field, def, min, max, help, ...)                             \
	SONDE_OPTION_ROW_(BYTES, type, uint64_t, key, field, def, min, max, help, __VA_ARGS__)
#define SONDE_OPTION_PORT(type, key, field, def, min, help, ...)                                   \
	SONDE_OPTION_ROW_(PORT, type, uint16_t, key, field, def, min, NULL, help, __VA_ARGS__)
#define SONDE_OPTION_STRING(type, key, field, def, max, help, ...)                                 \
	SONDE_OPTION_ROW_(STRING, type, char *, key, field, def, NULL, max, help, __VA_ARGS__)
#define SONDE_OPTION_PATH(type, key, field, def, help, ...)                                        \
	SONDE_OPTION_ROW_(PATH, type, char *, key, field, def, NULL, "4095", help, __VA_ARGS__)
#define SONDE_OPTION_ENUM(type, key, field, def, names_, help, ...)                                \
	SONDE_OPTION_ROW_(ENUM, type, int, key, field, def, NULL, NULL, help, .names = (names_),   \
			  __VA_ARGS__)
#define SONDE_OPTION_STRINGS(type, key, field, def, max, help, ...)                                \
	SONDE_OPTION_ROW_(STRINGS, type, char **, key, field, def, NULL, max, help, __VA_ARGS__)
#define SONDE_OPTION_LIST(type_, key_, field_, count_field_, element_, max_, help_)                \
	{                                                                                          \
		.key = (key_), .type = SONDE_OPTION_TYPE_LIST, .offset = offsetof(type_, field_),  \
		.max = (max_), .help = (help_), .element = (element_),                             \
		.element_size = sizeof(*((type_ *)0)->field_),                                     \
		.count_offset = SONDE_OPTION_OFFSET_(type_, count_field_, size_t)                  \
	}

/* A flag that is no option: "--doctor", "--state-dir DIR". Table ends with an all-zero row. */
struct sonde_config_action {
	const char *flag; /* without the dashes */
	const char *arg;  /* name of its argument in --help, NULL = takes none */
	const char *help; /* NULL = not listed */
};

struct sonde_config_spec {
	const char *program;	/* "sonde-agent" */
	const char *summary;	/* one sentence for --help and the reference */
	const char *exits;	/* further exit statuses for --help, "N words, …"; NULL = none */
	const char *env_prefix; /* "SONDE_AGENT_"; NULL: the environment is not read */
	const char *default_file; /* read if it exists and no --config is given; NULL = none */
	size_t size;		  /* of the struct */
	const struct sonde_option *options;
	/* NULL or checks that span keys: 0, or -EINVAL with *@ret_error (malloc'd, no file name) set. */
	int (*check)(const void *config, char **ret_error);
	const struct sonde_config_action *actions; /* NULL = none */
};

/* What a check says: *@ret_error becomes the words, NULL without memory. Return: -EINVAL, -ENOMEM. */
int sonde_config_refuse(char **ret_error, const char *fmt, ...) _printf_(2, 3);

/* What the command line said; kept for reloads. */
struct sonde_config_args;
/* Is the command line one that sonde_config_start() would take? Says nothing; reads argv alone. */
bool sonde_config_flags_are_right(const struct sonde_config_spec *spec, int argc,
				  char *const *argv);

struct sonde_config_args *sonde_config_args_free(struct sonde_config_args *args);
SONDE_DEFINE_CLEANUP(struct sonde_config_args *, sonde_config_args_free)

/* The argument of --@flag of the spec's actions ("" for one without), NULL if it was not given. */
const char *sonde_config_args_action(const struct sonde_config_args *args, const char *flag);

/**
 * sonde_config_start() - everything that main() does before it begins
 * @ret_config: the struct of spec->size, with 0; free with sonde_config_free()
 * @ret_args: for sonde_config_load() on SIGHUP, with 0
 * @ret_exit: exit status, with 1
 *
 * Handles --help, --version, --check-config, --dump-config, --dump-reference and
 * --config FILE by itself. Errors are on stderr already.
 * Return: 0 = go on, 1 = exit with *@ret_exit, -ENOMEM.
 */
int sonde_config_start(const struct sonde_config_spec *spec, int argc, char *const *argv,
		       void **ret_config, struct sonde_config_args **ret_args,
		       int *ret_exit) _must_check_;

/**
 * sonde_config_load() - file, environment, flags
 * @args: NULL = neither flags nor --config
 * @ret: a new struct, on success only
 * @ret_error: one complaint a line, "FILE:LINE: key 'x.y': expected …", on -EINVAL and on file errors; to be freed
 *
 * Return: 0, -EINVAL, -ENOMEM, -errno of reading the file.
 */
int sonde_config_load(const struct sonde_config_spec *spec, const struct sonde_config_args *args,
		      void **ret, char **ret_error) _must_check_;

/* The same from a text alone: no file, no environment, no flags (the probe's policy, tests, fuzzing). */
int sonde_config_parse(const struct sonde_config_spec *spec, const char *text, size_t len,
		       const char *name, void **ret, char **ret_error) _must_check_;

/*
 * Sets one key from text, as a flag does, for a program that takes its command line apart itself.
 * @ret_error: "WHERE: expected …", to be freed. Return: 0, -ENOENT (no such key), -EINVAL, -ENOMEM.
 */
int sonde_config_set(const struct sonde_config_spec *spec, void *config, const char *key,
		     const char *text, const char *where, char **ret_error) _must_check_;

/* Frees what the table says @config owns, and itself. NULL is fine. Always returns NULL. */
void *sonde_config_free(const struct sonde_config_spec *spec, void *config);

/* YAML of the effective values that sonde_config_parse() would take again (but for secrets). 0, -EIO. */
int sonde_config_dump(const struct sonde_config_spec *spec, const void *config, FILE *out);

/* --help, and the Markdown section of config/README.md. 0, -EIO. */
int sonde_config_help(const struct sonde_config_spec *spec, FILE *out);
int sonde_config_reference(const struct sonde_config_spec *spec, FILE *out);
