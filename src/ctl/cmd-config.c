/* SPDX-License-Identifier: Apache-2.0 */
/* sonde config view, set, use-context */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "config/yaml.h"
#include "ctl/config-edit.h"
#include "ctl/output.h"
#include "ctl/policy-file.h"
#include "ctl/settings.h"
#include "ctl/whole-file.h"

/* --- view --- */

static int print_yaml_as(struct sonde_cli *cli, const char *text)
{
	_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *root = NULL;
	_cleanup_free_ char *error = NULL;
	json_auto_t *value = NULL;
	int r = sonde_yaml_parse(text, strlen(text), "config", &root, &error);

	if (r < 0)
		return sonde_cli_broken(cli, r);
	value = sonde_policy_file_json(root);
	return value ? sonde_cli_print_value(cli, value) : sonde_cli_broken(cli, -ENOMEM);
}

/* What is in force; secrets as ***. A context that is not there is told, and hides nothing. */
int sonde_cli_config_view(struct sonde_cli *cli)
{
	int r, status = sonde_settings_use_context(cli);
	_cleanup_free_ char *text = NULL;
	size_t n;
	FILE *f;

	f = open_memstream(&text, &n);
	if (!f)
		return sonde_cli_broken(cli, -ENOMEM);
	r = sonde_config_dump(&sonde_cli_spec, cli->settings, f);
	if (fclose(f) != 0 && r == 0)
		r = -ENOMEM;
	if (r < 0)
		return sonde_cli_broken(cli, r);
	if (sonde_cli_output(cli) == SONDE_CLI_JSON) {
		r = print_yaml_as(cli, text);
		return r != SONDE_CLI_OK ? r : status;
	}
	(void)fputs(text, cli->out);
	return status;
}

/* --- set --- */

/* The folder of @path, made for the person alone if it is not there. */
static int make_folder(const char *path)
{
	_cleanup_free_ char *folder = strdup(path);

	if (!folder)
		return -ENOMEM;
	for (char *p = folder + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		if (mkdir(folder, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int find_file(struct sonde_cli *cli, char **ret)
{
	_cleanup_free_ char *path = NULL;
	int r = sonde_settings_path(cli, &path);

	if (r < 0)
		return sonde_cli_broken(cli, r);
	if (!*path)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "no home folder for a config file: see --config");
	r = strchr(path, '/') ? make_folder(path) : 0;
	if (r < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: %s", path, strerror(-r));
	*ret = TAKE_PTR(path);
	return 0;
}

static int change(struct sonde_cli *cli, const char *path, const char *key, const char *value)
{
	_cleanup_buf_ struct sonde_buf before = SONDE_BUF_INIT(SONDE_CONFIG_FILE_MAX);
	_cleanup_free_ char *after = NULL, *error = NULL;
	void *parsed = NULL;
	int r;

	r = sonde_file_read(path, false, &before);
	if (r < 0 && r != -ENOENT)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: %s", path,
				      sonde_file_error(r, false));
	r = sonde_buf_append(&before, "", 1); /* what was read into it has no end */
	if (r == 0)
		r = sonde_config_edit(sonde_buf_str(&before), key, value, &after, &error);
	/* nothing is written that would not be read again */
	if (r == 0)
		r = sonde_config_parse(&sonde_cli_spec, after, strlen(after), path, &parsed,
				       &error);
	(void)sonde_config_free(&sonde_cli_spec, parsed);
	if (r == -EINVAL && error)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "nothing was changed: %s", error);
	if (r == 0) /* for its owner alone: a token may stand in it */
		r = sonde_whole_file_write(path, after, strlen(after), 0600);
	return r < 0 ? sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: %s", path, strerror(-r)) : 0;
}

static bool is_secret(const char *key)
{
	const char *last = strrchr(key, '.');

	last = last ? last + 1 : key;
	return strcmp(last, "token") == 0 || strcmp(key, "oap_token") == 0 ||
	       strcmp(key, "oap_basic") == 0;
}

int sonde_cli_config_set(struct sonde_cli *cli)
{
	const char *key = cli->operands[0];
	_cleanup_free_ char *path = NULL;
	int status;

	if (is_secret(key)) {
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "%s: a secret has no place on a command line (`ps` would "
				      "show it): put it into a file and set token_file, or edit "
				      "the config",
				      key);
	}
	status = find_file(cli, &path);
	return status == 0 ? change(cli, path, key, cli->operands[1]) : status;
}

int sonde_cli_config_use_context(struct sonde_cli *cli)
{
	const char *over = getenv("SONDE_SERVER")    ? "SONDE_SERVER"
			   : getenv("SONDE_CONTEXT") ? "SONDE_CONTEXT"
						     : NULL;
	_cleanup_free_ char *path = NULL;
	int status;

	if (!sonde_settings_context(cli->settings, cli->operands[0]))
		return sonde_cli_fail(cli, SONDE_CLI_NOT_FOUND,
				      "no context '%.64s'; see sonde config view",
				      cli->operands[0]);
	status = find_file(cli, &path);
	if (status == 0)
		status = change(cli, path, "context", cli->operands[0]);
	if (status != 0)
		return status;
	if (over)
		sonde_cli_note(cli, "context %s is in the file, but %s is set and goes before it",
			       cli->operands[0], over);
	else
		sonde_cli_note(cli, "context %s is used from now on", cli->operands[0]);
	return 0;
}
