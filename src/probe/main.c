/* SPDX-License-Identifier: Apache-2.0 */
/* sonde-probe: arguments only. The keeper does the rest, or one proof is made and printed. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/log.h"
#include "base/num.h"
#include "collect/collector.h"
#include "config/config.h"
#include "host/privilege.h"
#include "probe/bpf-ids.h"
#include "probe/keeper.h"
#include "probe/policy.h"
#include "probe/worker.h"

#define AGENT_FD 3

struct arguments {
	const char *policy;
	const char *state;
	uint64_t agent_pid;
	bool idle_proof;
	bool check_policy;
	bool policy_reference;
	bool json;
};

static const char usage[] =
	"Usage: sonde-probe [OPTION]...\n"
	"The privileged half of sonde-agent, which starts it with descriptor 3 as their socketpair.\n"
	"\n"
	"      --policy FILE        the node's policy (" SONDE_POLICY_FILE
	"); root's, not writable by others\n"
	"      --state DIR          folder of '" SONDE_BPF_IDS_FILE
	"', where ids of loaded BPF objects are noted (" SONDE_PROBE_STATE_DIR ", if it exists)\n"
	"      --agent-pid PID      end at once unless this is the parent\n"
	"  -v, --verbose            debug lines on stderr\n"
	"      --idle-proof         ask the kernel (as root) for every noted id, print the answer; 0 = none is left\n"
	"      --json               with --idle-proof: answer in JSON\n"
	"      --check-policy       read the policy, say what is wrong with it, exit 0 or 2\n"
	"      --policy-reference   print every key of the policy as Markdown\n"
	"  -h, --help\n"
	"  -V, --version\n";

enum {
	OPT_POLICY = 256,
	OPT_STATE,
	OPT_AGENT_PID,
	OPT_IDLE_PROOF,
	OPT_CHECK_POLICY,
	OPT_POLICY_REFERENCE,
	OPT_JSON,
};

static const struct option options[] = {
	{"policy", required_argument, NULL, OPT_POLICY},
	{"state", required_argument, NULL, OPT_STATE},
	{"agent-pid", required_argument, NULL, OPT_AGENT_PID},
	{"verbose", no_argument, NULL, 'v'},
	{"idle-proof", no_argument, NULL, OPT_IDLE_PROOF},
	{"check-policy", no_argument, NULL, OPT_CHECK_POLICY},
	{"policy-reference", no_argument, NULL, OPT_POLICY_REFERENCE},
	{"json", no_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{0},
};

/* Return: 0 = go on, 1 = exit with *@ret_exit. */
static int parse(int argc, char **argv, struct arguments *ret, int *ret_exit)
{
	struct arguments a = {0};
	int c;

	*ret_exit = SONDE_PROBE_EXIT_OK;
	while ((c = getopt_long(argc, argv, "vhV", options, NULL)) >= 0) {
		switch (c) {
		case OPT_POLICY:
			a.policy = optarg;
			break;
		case OPT_STATE:
			a.state = optarg;
			break;
		case OPT_AGENT_PID:
			if (sonde_parse_u64(optarg, 1, INT32_MAX, &a.agent_pid) == 0)
				break;
			(void)sonde_log_err(0, "--agent-pid: no process id: '%s'", optarg);
			*ret_exit = SONDE_PROBE_EXIT_USAGE;
			return 1;
		case OPT_IDLE_PROOF:
			a.idle_proof = true;
			break;
		case OPT_CHECK_POLICY:
			a.check_policy = true;
			break;
		case OPT_POLICY_REFERENCE:
			a.policy_reference = true;
			break;
		case OPT_JSON:
			a.json = true;
			break;
		case 'v':
			sonde_log_set_level(SONDE_LOG_DEBUG);
			break;
		case 'h':
			(void)fputs(usage, stdout);
			return 1;
		case 'V':
			(void)puts("sonde-probe " SONDE_VERSION);
			return 1;
		default:
			*ret_exit = SONDE_PROBE_EXIT_USAGE;
			return 1;
		}
	}
	if (optind < argc) {
		(void)sonde_log_err(0, "what is '%s'? No argument is expected", argv[optind]);
		*ret_exit = SONDE_PROBE_EXIT_USAGE;
		return 1;
	}
	*ret = a;
	return 0;
}

static int check_policy(const char *path)
{
	_cleanup_(sonde_policy_freep) struct sonde_policy *policy = NULL;
	_cleanup_free_ char *words = NULL;
	int r;

	r = sonde_policy_load(path, &policy, &words);
	if (r == 0)
		return SONDE_PROBE_EXIT_OK;
	(void)fprintf(stderr, "%s\n", words ? words : strerror(-r));
	return SONDE_PROBE_EXIT_USAGE;
}

/* @noted: ids of this boot before they were asked; @proved: of the proofs before this one. */
static void print_proof_json(const struct sonde_probe_idle *proof, size_t noted, bool asked,
			     const struct sonde_bpf_proved *proved)
{
	(void)printf("{\"asked\": %s, \"ids_noted\": %zu, \"ids_asked\": %u, \"ids_alive\": %u, "
		     "\"wait_seconds\": %.3f, \"ids_proved_before\": %" PRIu64 "}\n",
		     asked ? "true" : "false", noted, proof->ids_asked, proof->ids_alive,
		     (double)proof->wait_ns / 1e9, proved->ids);
}

static void print_proof(const struct sonde_probe_idle *proof, size_t noted, bool asked,
			const struct sonde_bpf_proved *proved)
{
	const time_t s = (time_t)(proved->wall_ms / 1000);
	struct tm tm;

	if (asked)
		(void)printf("idle proof: %u ids asked, %u alive, after %.3f s\n", proof->ids_asked,
			     proof->ids_alive, (double)proof->wait_ns / 1e9);
	else
		(void)printf("idle proof: not asked, CAP_SYS_ADMIN is missing; %zu ids are noted\n",
			     noted);
	if (proved->ids > 0 && gmtime_r(&s, &tm)) {
		(void)printf("idle proof: since boot %" PRIu64
			     " more were proved gone before, last at "
			     "%04d-%02d-%02d %02d:%02d:%02d UTC\n",
			     proved->ids, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
			     tm.tm_min, tm.tm_sec);
	} else if (noted == 0) {
		(void)printf("idle proof: no id is noted here since boot: no task has run, or "
			     "the agent has another state folder\n");
	}
}

/* Return: exit status, -errno. */
static int make_proof(int ids_fd, bool json)
{
	struct sonde_probe_idle proof = {0};
	struct sonde_bpf_proved proved = {0};
	uint64_t permitted = 0;
	size_t noted = 0;
	bool asked;
	int r;

	r = sonde_privilege_keep(SONDE_CAP(CAP_SYS_ADMIN) | SONDE_CAP(CAP_BPF));
	if (r < 0)
		return r;
	r = sonde_privilege_permitted(&permitted);
	if (r < 0)
		return r;
	r = sonde_bpf_ids_tidy(ids_fd, &noted, &proved);
	if (r < 0)
		return r;
	r = sonde_bpf_ids_prove(ids_fd, SONDE_BPF_IDS_WAIT_NS, &proof);
	if (r < 0)
		return r;
	asked = (permitted & SONDE_CAP(CAP_SYS_ADMIN)) != 0;
	if (json)
		print_proof_json(&proof, noted, asked, &proved);
	else
		print_proof(&proof, noted, asked, &proved);
	return asked && proof.ids_alive == 0 ? SONDE_PROBE_EXIT_OK : SONDE_PROBE_EXIT_FAILED;
}

static int idle_proof(const char *state, bool json)
{
	_cleanup_close_ int dir_fd = -1, ids_fd = -1;
	int r;

	if (!state)
		state = SONDE_PROBE_STATE_DIR;
	dir_fd = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0) {
		(void)sonde_log_err(-errno, "cannot open the state folder '%s', see --state",
				    state);
		return SONDE_PROBE_EXIT_FAILED;
	}
	ids_fd = sonde_bpf_ids_open(dir_fd);
	r = ids_fd < 0 ? ids_fd : make_proof(ids_fd, json);
	if (r >= 0)
		return r;
	(void)sonde_log_err(r, "cannot ask for the ids noted in '%s'", state);
	return SONDE_PROBE_EXIT_FAILED;
}

/* Descriptor 3 must be the socket that sonde-agent makes. */
static int check_socket(void)
{
	int type = 0, domain = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(AGENT_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return -errno;
	len = sizeof(domain);
	if (getsockopt(AGENT_FD, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return -errno;
	if (type != SOCK_SEQPACKET || domain != AF_UNIX)
		return -ENOTSOCK;
	return fcntl(AGENT_FD, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

int main(int argc, char **argv)
{
	struct sonde_keeper_config keeper = {.collectors = sonde_collectors, .socket = AGENT_FD};
	struct arguments a;
	int status, r;

	sonde_log_set_program("sonde-probe");
	if (parse(argc, argv, &a, &status) > 0)
		return status;
	if (a.check_policy)
		return check_policy(a.policy);
	if (a.policy_reference)
		return sonde_config_reference(sonde_policy_spec(), stdout) < 0
			       ? SONDE_PROBE_EXIT_FAILED
			       : SONDE_PROBE_EXIT_OK;
	if (a.idle_proof)
		return idle_proof(a.state, a.json);
	r = check_socket();
	if (r < 0) {
		(void)sonde_log_err(
			r, "descriptor 3 is not sonde-agent's socket; it starts this program");
		return SONDE_PROBE_EXIT_USAGE;
	}
	keeper.agent_pid = (pid_t)a.agent_pid;
	keeper.policy = a.policy;
	keeper.state_dir = a.state;
	if (!keeper.state_dir && access(SONDE_PROBE_STATE_DIR, F_OK) == 0)
		keeper.state_dir = SONDE_PROBE_STATE_DIR;
	/* There is nothing to flush, and what libraries do at exit(3) is not made for the filter. */
	_exit(sonde_keeper_run(&keeper));
}
