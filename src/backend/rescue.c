/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/rescue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/store/rescue.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"

/* A fault of the file at @path, in SQLite's words or errno's. */
static int failed(int r, const char *what, const char *path, const char *words)
{
	if (words[0])
		(void)sonde_log_err(0, "cannot %s %s: %s", what, path, words);
	else
		(void)sonde_log_err(r, "cannot %s %s", what, path);
	return r;
}

static int backup(const char *path, const char *to)
{
	char words[SONDE_STORE_WORDS_MAX];
	int r = sonde_store_backup(path, to, words);

	if (r == -EEXIST) {
		(void)sonde_log_err(
			0,
			"cannot back up: %s or its .part is there already, and nothing is "
			"written over",
			to);
		return r;
	}
	if (r < 0)
		return failed(r, "back up", path, words);
	(void)printf("%s is a back-up of %s, looked at whole. To go back to it: stop the server, "
		     "sonde-server --restore %s\n",
		     to, path, to);
	return 0;
}

static int check(const char *path, const char *argument)
{
	struct sonde_store_verdict v;

	sonde_store_check(path, 0, &v);
	if (v.error < 0)
		return failed(v.error, "vouch for", path, v.words);
	if (v.fresh)
		(void)printf("there is no database %s yet\n", path);
	else
		(void)printf("%s is sound: schema %d, %" PRIu64 " bytes, %" PRIu64
			     " transactions, looked at whole in %" PRIu64 " ms\n",
			     path, v.version, v.bytes, v.commits,
			     (uint64_t)(v.took_ns / SONDE_NS_PER_MS));
	return 0;
}

static void say_aside(const char *aside)
{
	if (aside[0])
		(void)printf("what was there before is %s now\n", aside);
}

static int restore(const char *path, const char *from)
{
	char words[SONDE_STORE_WORDS_MAX], aside[SONDE_STORE_PATH_MAX];
	int r = sonde_store_restore(path, from, aside, words);

	if (r < 0) {
		say_aside(aside);
		return failed(r, "restore", from, words);
	}
	(void)printf("%s is what %s was: the server may be started\n", path, from);
	say_aside(aside);
	return 0;
}

static int salvage(const char *path, const char *argument)
{
	char words[SONDE_STORE_WORDS_MAX];
	struct sonde_store_salvage s;
	uint64_t faults = 0;
	int r = sonde_store_salvage(path, &s, words);

	if (r < 0) {
		say_aside(s.aside);
		if (s.aside[0] && access(path, F_OK) < 0)
			(void)printf("what could be read of it is %s.salvage, for --restore\n",
				     path);
		return failed(r, "salvage", path, words);
	}
	for (size_t i = 0; i < s.n; i++) {
		(void)printf("%s: %" PRIu64 " rows kept%s\n", s.table[i].table, s.table[i].rows,
			     s.table[i].faults ? ", others could not be read" : "");
		faults += s.table[i].faults;
	}
	say_aside(s.aside);
	(void)printf("%s: the server may be started\n",
		     faults ? "what could not be read is not in the new file" : "all was read");
	return 0;
}

static int set_aside(const char *path, const char *argument)
{
	char aside[SONDE_STORE_PATH_MAX];
	int r = sonde_store_set_aside(path, aside);

	say_aside(aside);
	if (r < 0)
		return failed(r, "set aside", path, "");
	(void)printf("the next start begins with an empty database\n");
	return 0;
}

static int accept_it(const char *path, const char *argument)
{
	char words[SONDE_STORE_WORDS_MAX];
	int r = sonde_store_accept(path, words);

	if (r < 0)
		return failed(r, "accept", path, words);
	(void)printf("%s is taken as it is: the server may be started\n", path);
	return 0;
}

static const struct {
	const char *flag;
	int (*fn)(const char *path, const char *argument);
	bool locks; /* no server may run */
} commands[] = {
	{"backup", backup, false},
	{"check-database", check, false},
	{"restore", restore, true},
	{"salvage-database", salvage, true},
	{"accept-database", accept_it, true},
	{"set-database-aside", set_aside, true},
};

bool sonde_rescue_is_asked(const struct sonde_config_args *args)
{
	for (size_t i = 0; i < ELEMENTS_OF(commands); i++) {
		if (sonde_config_args_action(args, commands[i].flag))
			return true;
	}
	return false;
}

static int lock(const char *dir, int *ret_fd)
{
	pid_t holder = 0;
	int r = sonde_lock_dir(dir, SONDE_LOCK_FILE, ret_fd, &holder);

	if (r == -EBUSY)
		(void)sonde_log_err(0,
				    "sonde-server (pid %d) uses the state folder %s: stop it first",
				    (int)holder, dir);
	else if (r < 0)
		(void)sonde_log_err(r, "cannot lock the state folder %s", dir);
	return r;
}

int sonde_rescue_run(const struct sonde_server_options *o, const struct sonde_config_args *args)
{
	char path[SONDE_STORE_PATH_MAX];
	_cleanup_close_ int fd = -1;
	const char *argument = NULL;
	size_t i = 0;
	int r = 0;

	while (!(argument = sonde_config_args_action(args, commands[i].flag)))
		i++; /* one was asked for */
	if (snprintf(path, sizeof(path), "%s/" SONDE_STORE_FILE, o->state) >= (int)sizeof(path))
		return sonde_log_err(-ENAMETOOLONG, "the state folder's name is too long");
	if (commands[i].locks)
		r = lock(o->state, &fd);
	if (r == 0)
		r = commands[i].fn(path, argument);
	if (r == 0 && fflush(stdout) != 0)
		r = sonde_log_err(-errno, "cannot write to stdout");
	return r;
}
