/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/args.h"

int sonde_config_refuse(char **ret_error, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(ret_error, fmt, ap);
	va_end(ap);
	if (n >= 0)
		return -EINVAL;
	*ret_error = NULL;
	return -ENOMEM;
}

void *sonde_config_free(const struct sonde_config_spec *spec, void *config)
{
	if (!config)
		return NULL;
	sonde_option_release(spec->options, config);
	free(config);
	return NULL;
}

static int new_config(const struct sonde_config_spec *spec, void **ret)
{
	void *config;
	int r;

	config = calloc(1, spec->size);
	if (!config)
		return -ENOMEM;
	r = sonde_option_defaults(spec->options, config);
	if (r < 0) {
		(void)sonde_config_free(spec, config);
		return r;
	}
	*ret = config;
	return 0;
}

/* A load that fails on the way frees what it made: config and faults belong to this frame. */
struct frame {
	const struct sonde_config_spec *spec;
	void *config;
	struct sonde_config_faults faults;
};

static void frame_done(struct frame *f)
{
	f->config = sonde_config_free(f->spec, f->config);
	sonde_config_faults_done(&f->faults);
}
#define _cleanup_frame_ _cleanup_(frame_done)

static int file_error(char **ret_error, const char *path, int err)
{
	char *words;

	if (asprintf(&words, "%s: %s", path,
		     err == -EFBIG ? "larger than a config may be" : strerror(-err)) < 0)
		return -ENOMEM;
	*ret_error = words;
	return err;
}

/* As of key and token files: sshd and others refuse those too. What is in the file is known by what it set. */
static void check_secrets(const struct sonde_config_spec *spec, const char *path, struct frame *f)
{
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & S_IROTH) == 0)
		return;
	for (const struct sonde_option *o = spec->options; o->key; o++) {
		if ((o->flags & SONDE_OPTION_SECRET) && sonde_option_is_set(o, f->config))
			sonde_config_complain(&f->faults,
					      "%s: key '%s' is a secret, and everyone on this "
					      "machine may read the file: chmod o-r",
					      path, o->key);
	}
}

static int apply_file(const struct sonde_config_spec *spec, const struct sonde_config_args *args,
		      struct frame *f, char **ret_error)
{
	const char *path = args && args->file ? args->file : spec->default_file;
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (!path)
		return 0;
	r = sonde_yaml_read_file(path, SONDE_CONFIG_FILE_MAX, &text, &len);
	if (r == -ENOENT && !(args && args->file))
		return 0;
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return file_error(ret_error, path, r);
	r = sonde_config_apply_text(spec, text, len, path, &f->faults, f->config);
	if (r == 0)
		check_secrets(spec, path, f);
	return r;
}

int sonde_config_load(const struct sonde_config_spec *spec, const struct sonde_config_args *args,
		      void **ret, char **ret_error)
{
	_cleanup_frame_ struct frame f = {.spec = spec, .faults = SONDE_CONFIG_FAULTS_INIT};
	int r;

	assert(spec && ret && ret_error);

	r = new_config(spec, &f.config);
	if (r < 0)
		return r;
	r = apply_file(spec, args, &f, ret_error);
	if (r < 0)
		return r;
	r = sonde_config_apply_env(spec, &f.faults, f.config);
	if (r < 0)
		return r;
	if (args) {
		r = sonde_config_apply_flags(args, &f.faults, f.config);
		if (r < 0)
			return r;
	}
	r = sonde_config_finish(spec, args, args && args->file ? args->file : spec->program,
				&f.faults, f.config);
	if (r < 0)
		return r;
	r = sonde_config_verdict(&f.faults, ret_error);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(f.config);
	return 0;
}

int sonde_config_parse(const struct sonde_config_spec *spec, const char *text, size_t len,
		       const char *name, void **ret, char **ret_error)
{
	_cleanup_frame_ struct frame f = {.spec = spec, .faults = SONDE_CONFIG_FAULTS_INIT};
	int r;

	assert(spec && text && name && ret && ret_error);

	r = new_config(spec, &f.config);
	if (r < 0)
		return r;
	r = sonde_config_apply_text(spec, text, len, name, &f.faults, f.config);
	if (r < 0)
		return r;
	r = sonde_config_finish(spec, NULL, name, &f.faults, f.config);
	if (r < 0)
		return r;
	r = sonde_config_verdict(&f.faults, ret_error);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(f.config);
	return 0;
}

int sonde_config_set(const struct sonde_config_spec *spec, void *config, const char *key,
		     const char *text, const char *where, char **ret_error)
{
	_cleanup_(sonde_config_faults_done) struct sonde_config_faults f = SONDE_CONFIG_FAULTS_INIT;
	int r;

	assert(spec && config && key && text && where && ret_error);

	for (const struct sonde_option *o = spec->options; o->key; o++) {
		if (strcmp(o->key, key) != 0)
			continue;
		r = sonde_option_set(o, config, text);
		if (r == 0 || r == -ENOMEM)
			return r;
		sonde_config_expected(&f, where, o, text);
		return sonde_config_verdict(&f, ret_error);
	}
	return -ENOENT;
}

bool sonde_config_flags_are_right(const struct sonde_config_spec *spec, int argc, char *const *argv)
{
	_cleanup_(sonde_config_args_freep) struct sonde_config_args *args = NULL;
	_cleanup_free_ char *words = NULL;

	assert(spec && argv);

	return sonde_config_args_parse(spec, argc, argv, &args, &words) == 0;
}

/* What needs no config. Return: 1 with *@ret_exit, 0 = not such a request. */
static int answer_request(const struct sonde_config_args *args, int *ret_exit)
{
	int r;

	switch (args->request) {
	case SONDE_CONFIG_HELP:
		r = sonde_config_help(args->spec, stdout);
		break;
	case SONDE_CONFIG_REFERENCE:
		r = sonde_config_reference(args->spec, stdout);
		break;
	case SONDE_CONFIG_VERSION:
		r = printf("%s %s\n", args->spec->program, SONDE_VERSION) < 0 ? -EIO : 0;
		break;
	case SONDE_CONFIG_RUN:
	case SONDE_CONFIG_CHECK:
	case SONDE_CONFIG_DUMP:
	default:
		return 0;
	}
	*ret_exit = r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	return 1;
}

static int give_up(const struct sonde_config_spec *spec, int err, const char *words, int *ret_exit)
{
	if (err == -ENOMEM)
		return err;
	(void)fprintf(stderr, "%s\n", words ? words : strerror(-err));
	(void)fprintf(stderr, "%s: not started; see %s --help\n", spec->program, spec->program);
	*ret_exit = SONDE_CONFIG_EXIT_USAGE;
	return 1;
}

int sonde_config_start(const struct sonde_config_spec *spec, int argc, char *const *argv,
		       void **ret_config, struct sonde_config_args **ret_args, int *ret_exit)
{
	_cleanup_(sonde_config_args_freep) struct sonde_config_args *args = NULL;
	_cleanup_free_ char *words = NULL;
	void *config;
	int r;

	assert(spec && argv && ret_config && ret_args && ret_exit);

	r = sonde_config_args_parse(spec, argc, argv, &args, &words);
	if (r < 0)
		return give_up(spec, r, words, ret_exit);
	if (answer_request(args, ret_exit) > 0)
		return 1;
	r = sonde_config_load(spec, args, &config, &words);
	if (r < 0)
		return give_up(spec, r, words, ret_exit);
	if (args->request == SONDE_CONFIG_CHECK || args->request == SONDE_CONFIG_DUMP) {
		r = args->request == SONDE_CONFIG_DUMP ? sonde_config_dump(spec, config, stdout)
						       : 0;
		(void)sonde_config_free(spec, config);
		*ret_exit = r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
		return 1;
	}
	*ret_config = config;
	*ret_args = TAKE_PTR(args);
	return 0;
}
