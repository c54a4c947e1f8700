/* SPDX-License-Identifier: Apache-2.0 */
#include "config/args.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "config/hint.h"

/* A built-in flag. */
struct builtin {
	const char *name;
	char letter;
	enum sonde_config_request request;
};

static const struct builtin builtins[] = {
	{"help", 'h', SONDE_CONFIG_HELP},
	{"version", 'V', SONDE_CONFIG_VERSION},
	{"check-config", 0, SONDE_CONFIG_CHECK},
	{"dump-config", 0, SONDE_CONFIG_DUMP},
	{"dump-reference", 0, SONDE_CONFIG_REFERENCE},
};

struct sonde_config_args *sonde_config_args_free(struct sonde_config_args *args)
{
	if (!args)
		return NULL;
	for (size_t i = 0; i < args->n_flags; i++)
		free(args->flags[i].value);
	free(args->flags);
	free(args->file);
	free(args);
	return NULL;
}

const char *sonde_config_args_action(const struct sonde_config_args *args, const char *flag)
{
	const char *value = NULL;

	for (size_t i = 0; i < args->n_flags; i++) {
		const struct sonde_config_action *action = args->flags[i].action;

		if (action && strcmp(action->flag, flag) == 0)
			value = args->flags[i].value; /* the last one wins */
	}
	return value;
}

static int fault(char **ret_error, const char *fmt, ...) _printf_(2, 3);
static int fault(char **ret_error, const char *fmt, ...)
{
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(1024);
	char words[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	if (sonde_buf_printf(&out, "%s", words) < 0)
		return -ENOMEM;
	*ret_error = (char *)TAKE_PTR(out.data);
	return -EINVAL;
}

static const struct sonde_option *find_option(const struct sonde_config_spec *spec,
					      const char *name)
{
	char flag[SONDE_CONFIG_KEY_MAX];

	for (const struct sonde_option *o = spec->options; o->key; o++) {
		if (sonde_option_flag(o, flag) && strcmp(flag, name) == 0)
			return o;
	}
	return NULL;
}

static const struct sonde_config_action *find_action(const struct sonde_config_spec *spec,
						     const char *name)
{
	for (const struct sonde_config_action *a = spec->actions; a && a->flag; a++) {
		if (strcmp(a->flag, name) == 0)
			return a;
	}
	return NULL;
}

static const struct builtin *find_builtin(const char *name)
{
	for (size_t i = 0; i < ELEMENTS_OF(builtins); i++) {
		if (strcmp(builtins[i].name, name) == 0)
			return &builtins[i];
	}
	return NULL;
}

/* The secret that --@name would be, if secrets had flags. */
static const struct sonde_option *find_secret(const struct sonde_config_spec *spec,
					      const char *name)
{
	char flag[SONDE_CONFIG_KEY_MAX];

	for (const struct sonde_option *o = spec->options; o->key; o++) {
		struct sonde_option shown = *o;

		shown.flags = 0;
		if ((o->flags & SONDE_OPTION_SECRET) && sonde_option_flag(&shown, flag) &&
		    strcmp(flag, name) == 0)
			return o;
	}
	return NULL;
}

static int unknown(const struct sonde_config_spec *spec, const char *name, char **ret_error)
{
	char flag[SONDE_CONFIG_KEY_MAX], near[SONDE_CONFIG_KEY_MAX] = "";
	const struct sonde_option *secret = find_secret(spec, name);
	char env[SONDE_CONFIG_KEY_MAX * 2];
	size_t best = SIZE_MAX;

	if (secret && sonde_option_env(spec, secret, env))
		return fault(ret_error,
			     "--%s: a secret has no flag (`ps` would show it), use %s or the file",
			     name, env);
	for (const struct sonde_option *o = spec->options; o->key; o++) {
		if (sonde_option_flag(o, flag) && sonde_hint_near(name, flag, &best))
			(void)snprintf(near, sizeof(near), "%s", flag);
	}
	for (const struct sonde_config_action *a = spec->actions; a && a->flag; a++) {
		if (sonde_hint_near(name, a->flag, &best))
			(void)snprintf(near, sizeof(near), "%s", a->flag);
	}
	for (size_t i = 0; i < ELEMENTS_OF(builtins); i++) {
		if (sonde_hint_near(name, builtins[i].name, &best))
			(void)snprintf(near, sizeof(near), "%s", builtins[i].name);
	}
	if (*near)
		return fault(ret_error, "--%s: no such flag, did you mean --%s?", name, near);
	return fault(ret_error, "--%s: no such flag, --help lists them", name);
}

static int add_flag(struct sonde_config_args *args, const struct sonde_option *option,
		    const struct sonde_config_action *action, const char *value)
{
	struct sonde_config_flag *grown;
	char *copy;

	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	/* no more than argc of them */
	grown = realloc(args->flags, (args->n_flags + 1) * sizeof(*grown));
	if (!grown) {
		free(copy);
		return -ENOMEM;
	}
	args->flags = grown;
	grown[args->n_flags++] = (struct sonde_config_flag){option, action, copy};
	return 0;
}

static int set_file(struct sonde_config_args *args, const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	free(args->file);
	args->file = copy;
	return 0;
}

/* One "--name[=value]"; *@i moves on if the value is the next argument. */
static int parse_long(struct sonde_config_args *args, int argc, char *const *argv, int *i,
		      char **ret_error)
{
	_cleanup_free_ char *name = strdup(argv[*i] + 2);
	const struct sonde_config_action *action;
	const struct sonde_option *option;
	const struct builtin *builtin;
	const char *value = NULL;
	bool wants;
	char *eq;

	if (!name)
		return -ENOMEM;
	eq = strchr(name, '=');
	if (eq) {
		*eq = '\0';
		value = eq + 1;
	}
	builtin = find_builtin(name);
	option = find_option(args->spec, name);
	action = find_action(args->spec, name);
	if (!builtin && !option && !action && strcmp(name, "config") != 0)
		return unknown(args->spec, name, ret_error);

	/* a bool is on by its name alone, so that no word behind it is swallowed */
	wants = option	 ? option->type != SONDE_OPTION_TYPE_BOOL
		: action ? action->arg != NULL
			 : builtin == NULL;
	if (wants && !value) {
		if (*i + 1 >= argc)
			return fault(ret_error, "--%s: expected a value behind it", name);
		value = argv[++*i];
	} else if (!wants && value && !option) {
		return fault(ret_error, "--%s: takes no value", name);
	}
	if (builtin) {
		args->request = builtin->request;
		return 0;
	}
	if (option)
		return add_flag(args, option, NULL, value ? value : "true");
	if (action)
		return add_flag(args, NULL, action, value ? value : "");
	return set_file(args, value);
}

static int parse_short(struct sonde_config_args *args, const char *arg, char **ret_error)
{
	for (size_t i = 0; i < ELEMENTS_OF(builtins); i++) {
		if (builtins[i].letter && arg[1] == builtins[i].letter && !arg[2]) {
			args->request = builtins[i].request;
			return 0;
		}
	}
	return fault(ret_error, "'%s': no such flag, --help lists them", arg);
}

int sonde_config_args_parse(const struct sonde_config_spec *spec, int argc, char *const *argv,
			    struct sonde_config_args **ret, char **ret_error)
{
	_cleanup_(sonde_config_args_freep) struct sonde_config_args *args = NULL;

	assert(spec && argv && ret && ret_error);

	args = calloc(1, sizeof(*args));
	if (!args)
		return -ENOMEM;
	args->spec = spec;
	for (int i = 1; i < argc; i++) {
		int r;

		if (strncmp(argv[i], "--", 2) == 0 && argv[i][2])
			r = parse_long(args, argc, argv, &i, ret_error);
		else if (argv[i][0] == '-' && argv[i][1])
			r = parse_short(args, argv[i], ret_error);
		else
			r = fault(ret_error, "'%s': no arguments are taken but flags", argv[i]);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(args);
	return 0;
}

int sonde_config_apply_flags(const struct sonde_config_args *args, struct sonde_config_faults *f,
			     void *config)
{
	char flag[SONDE_CONFIG_KEY_MAX], where[SONDE_CONFIG_KEY_MAX + 8];

	for (size_t i = 0; i < args->n_flags; i++) {
		const struct sonde_option *o = args->flags[i].option;
		int r;

		if (!o)
			continue;
		r = sonde_option_set(o, config, args->flags[i].value);
		if (r == -ENOMEM)
			return r;
		if (r < 0 && sonde_option_flag(o, flag)) {
			(void)snprintf(where, sizeof(where), "--%s", flag);
			sonde_config_expected(f, where, o, args->flags[i].value);
		}
	}
	return 0;
}
