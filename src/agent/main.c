/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sonde-agent: the probe first, with what argv says alone; then every capability goes; only then is
 * anything from outside read.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/doctor.h"
#include "agent/import-rover.h"
#include "agent/options.h"
#include "agent/probe-client.h"
#include "agent/state-dir.h"
#include "base/log.h"
#include "base/secret.h"
#include "host/privilege.h"
#include "model/probe-msg.h"

/* --NAME VALUE or --NAME=VALUE, before the config's own reading of argv, which checks it again. */
static const char *flag_value(int argc, char *const *argv, const char *name)
{
	size_t n = strlen(name);

	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];

		if (strcmp(a, "--") == 0)
			break;
		if (strncmp(a, "--", 2) != 0 || strncmp(a + 2, name, n) != 0)
			continue;
		if (a[2 + n] == '=')
			return a + 2 + n + 1;
		if (a[2 + n] == '\0')
			return i + 1 < argc ? argv[i + 1] : NULL;
	}
	return NULL;
}

static bool has_flag(int argc, char *const *argv, const char *name)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, name) == 0)
			return true;
	}
	return false;
}

/* Answers of the config's own, for which no probe is needed. */
static bool needs_probe(int argc, char *const *argv)
{
	static const char *const alone[] = {"help",	   "version",	     "check-config",
					    "dump-config", "dump-reference", "idle-proof",
					    "import-rover"};

	for (size_t i = 0; i < ELEMENTS_OF(alone); i++) {
		if (has_flag(argc, argv, alone[i]))
			return false;
	}
	/* with a wrong flag it only says so */
	return sonde_config_flags_are_right(&sonde_agent_config_spec, argc, argv) &&
	       !has_flag(argc, argv, "h") && !(argc > 1 && strcmp(argv[1], "-h") == 0);
}

/* Is it to run tasks, and not just to answer? */
static bool is_agent(int argc, char *const *argv)
{
	return needs_probe(argc, argv) && !has_flag(argc, argv, "doctor") &&
	       !has_flag(argc, argv, "check-bpf");
}

/* In the words of this program's own flags, before sonde-probe says it in those of its. */
static int check_state_dir(const char *state)
{
	struct stat st;

	if (stat(state, &st) < 0 && errno == ENOENT)
		return sonde_log_err(-ENOENT,
				     "no ids were noted: there is no state folder '%s' (the agent "
				     "makes notes in the one that --state-dir names)",
				     state);
	if (access(state, R_OK | X_OK) < 0)
		return sonde_log_err(-errno, "cannot open the state folder '%s', see --state-dir",
				     state);
	return 0;
}

/* sonde-probe makes the proof by itself: it takes this process's place. */
static int exec_idle_proof(int argc, char *const *argv, bool json)
{
	const char *path = flag_value(argc, argv, "probe"),
		   *state = flag_value(argc, argv, "state-dir");
	const char *args[6];
	size_t n_args = 0;
	char beside[4096];
	ssize_t n;
	int r;

	if (!state)
		state = SONDE_PROBE_STATE_DIR;
	r = check_state_dir(state);
	if (r < 0)
		return r;
	if (!path) {
		n = readlink("/proc/self/exe", beside, sizeof(beside) - sizeof("sonde-probe"));
		if (n <= 0)
			return sonde_log_err(-errno, "cannot read /proc/self/exe");
		beside[n] = '\0';
		(void)snprintf(strrchr(beside, '/') + 1, sizeof("sonde-probe"), "sonde-probe");
		path = beside;
	}
	args[n_args++] = "sonde-probe";
	args[n_args++] = "--idle-proof";
	if (json || has_flag(argc, argv, "json"))
		args[n_args++] = "--json";
	args[n_args++] = "--state";
	args[n_args++] = state;
	args[n_args] = NULL;
	(void)execv(path, (char *const *)args);
	return sonde_log_err(-errno, "cannot run '%s'", path);
}

/* Nothing of this machine is asked. */
static int import_rover(const char *path)
{
	int r = sonde_privilege_drop_all();

	if (r < 0) {
		(void)sonde_log_err(r, "cannot drop the capabilities");
		return 1;
	}
	return sonde_import_rover_file(path);
}

static int start_probe(int argc, char *const *argv, struct sonde_probe_client **ret)
{
	const struct sonde_probe_client_config config = {
		.path = flag_value(argc, argv, "probe"),
		.policy = flag_value(argc, argv, "policy"),
		.state_dir = flag_value(argc, argv, "state-dir"),
	};
	int r;

	r = sonde_probe_client_start(&config, ret);
	return r < 0 ? sonde_log_err(r, "cannot start sonde-probe") : 0;
}

static void set_log_level(const struct sonde_agent_config *c)
{
	static const enum sonde_log_level levels[] = {SONDE_LOG_ERROR, SONDE_LOG_WARNING,
						      SONDE_LOG_INFO, SONDE_LOG_DEBUG};

	sonde_log_set_level(levels[c->log_level]);
}

static int run(const struct sonde_agent_config *config, const struct sonde_config_args *args,
	       struct sonde_probe_client **probe, bool json)
{
	const char *state = sonde_config_args_action(args, "state-dir");

	set_log_level(config);
	if (sonde_config_args_action(args, "doctor"))
		return sonde_doctor_run(*probe, json);
	if (sonde_config_args_action(args, "check-bpf"))
		return sonde_doctor_check_bpf(*probe, json);
	if (!state && access(SONDE_PROBE_STATE_DIR, F_OK) == 0)
		state = SONDE_PROBE_STATE_DIR;
	return sonde_agent_run(config, state, TAKE_PTR(*probe)) < 0 ? 1 : 0;
}

/* Takes out "-o json", which is --json as the command line of sonde has it. Return: how many arguments are left. */
static int take_output_option(int argc, char **argv, bool *ret_json)
{
	int n = 0;

	for (int i = 0; i < argc; i++) {
		if (i > 0 && i + 1 < argc && strcmp(argv[i], "-o") == 0 &&
		    strcmp(argv[i + 1], "json") == 0)
			i++;
		else
			argv[n++] = argv[i];
	}
	*ret_json = n < argc;
	return n;
}

int main(int argc, char **argv)
{
	_cleanup_(sonde_probe_client_freep) struct sonde_probe_client *probe = NULL;
	_cleanup_(sonde_config_args_freep) struct sonde_config_args *args = NULL;
	_cleanup_close_ int state_fd = -1;
	void *config = NULL;
	int r, status = 1;
	const char *rover;
	bool json;

	sonde_secret_guard();
	sonde_log_set_program("sonde-agent");
	argc = take_output_option(argc, argv, &json);
	if (has_flag(argc, argv, "idle-proof") && !has_flag(argc, argv, "help"))
		return exec_idle_proof(argc, argv, json) < 0 ? 1 : 0;
	rover = flag_value(argc, argv, "import-rover");
	if (rover && !has_flag(argc, argv, "help"))
		return import_rover(rover);
	json = json || has_flag(argc, argv, "json");
	if (json && is_agent(argc, argv)) {
		(void)sonde_log_err(-EINVAL,
				    "--json: goes with --doctor, --idle-proof or --check-bpf");
		return 2;
	}
	if (is_agent(argc, argv) && sonde_state_dir_hold(flag_value(argc, argv, "state-dir"),
							 SONDE_STATE_DIR_WAIT_NS, &state_fd) < 0)
		return 1;
	if (needs_probe(argc, argv) && start_probe(argc, argv, &probe) < 0)
		return 1;
	r = sonde_privilege_drop_all();
	if (r < 0) {
		(void)sonde_log_err(r, "cannot drop the capabilities");
		return 1;
	}
	r = sonde_config_start(&sonde_agent_config_spec, argc, argv, &config, &args, &status);
	if (r != 0)
		return r < 0 ? 1 : status;
	/* An abbreviated --help or the like would have got here without one. */
	if (probe)
		status = run(config, args, &probe, json);
	config = sonde_config_free(&sonde_agent_config_spec, config);
	return status;
}
