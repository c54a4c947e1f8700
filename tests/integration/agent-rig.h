/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Agent rig: sonde-agent and its probe under the double of a backend, and two processes of this test's own program that
 * talk TCP on loopback. Needs root and BPF: see agent_rig_main().
 */

#include "sonde-test.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "doubles/agent-backend.h"

#define MESSAGE 1000		/* bytes of one message, and of its echo */
#define AGENT_RIG_WAIT_MS 60000 /* a test that hangs, not a measure */

struct rig {
	char dir[64];
	sd_event *event;
	struct agent_double backend;
	pid_t agent, server, client;
	int server_in, server_out; /* the server child's words */
	int client_in, client_out;
	uint16_t port;
	const char *
		rules; /* of the agent's config, as lines of the list; NULL: those of both processes */
	const char *scan;      /* of the agent's config; NULL: 500ms */
	const char *heartbeat; /* the same; NULL: 1s */
	const char *wrapper;   /* text for sh that ends in "$@", or NULL */
	char log[96];	       /* of the agent */
	bool wrapper_ends;     /* it is ended by SIGKILL */
};

/* Setup and teardown of each test; *state is a struct rig. */
int agent_rig_set_up(void **state);
int agent_rig_tear_down(void **state);

/*
 * main() of such a test: a child (echo-server, fork-server, echo-client PORT), or else the tests, of which the one that
 * the argument names. Return: the exit status; 77 where BPF is refused.
 */
int agent_rig_main_(int argc, char **argv, const char *name, const struct CMUnitTest *tests,
		    size_t n);

/* Runs a program with its standard input and output on pipes. */
pid_t agent_rig_spawn(const char *const argv[], int *ret_in, int *ret_out);
void agent_rig_read_line(int fd, char *buf, size_t size);

void agent_rig_start_client(struct rig *r);
/* The same, under a command line that no rule names. */
void agent_rig_start_unnamed_client(struct rig *r);
void agent_rig_start_server(struct rig *r);
/* @how: "echo-server" or "fork-server" (a child for each connection). */
void agent_rig_start_server_as(struct rig *r, const char *how);
/* @extra: further rules, as lines of the list. */
void agent_rig_start_agent(struct rig *r, const char *extra);
/* All of them, and both processes are known. */
void agent_rig_begin(struct rig *r, bool extension);
bool agent_rig_knows_both(struct agent_double *d, void *arg);
void agent_rig_end_child(pid_t *pid, int sig);

/* One connection of @n messages, begun and ended at both ends. The loop stands still meanwhile. */
void agent_rig_talk(struct rig *r, unsigned n);
void agent_rig_pause_ms(struct rig *r, unsigned ms);

/* A command that the next poll takes. */
struct double_command *agent_rig_command(struct rig *r, const char *id, const char *spec);
#define SPEC(ms, targets)                                                                          \
	"{\"Sonde\":{\"durationMs\":\"" #ms "\",\"reportIntervalMs\":500,\"targets\":[" targets    \
	"]}}"

/* A report tells of it. */
void agent_rig_wait_state(struct rig *r, const char *task, const char *state);
void agent_rig_wait_end(struct rig *r, const char *task);
/* Told by the watch that the agent holds. What a task is to see has happened by then, however slow the machine is. */
void agent_rig_stop_task(struct rig *r, const char *task, const char *why);

void agent_rig_assert_sum(const struct rig *r, const char *task, const char *name,
			  const char *label, double want);
/* The agent's log has @text so often; and until it has it. */
unsigned agent_rig_log_count(const struct rig *r, const char *text);
void agent_rig_wait_line(struct rig *r, const char *text);

/* Until agent_rig_check_talk() would hold. */
void agent_rig_wait_talk(struct rig *r, const char *task, unsigned connections, unsigned messages);
/* Every meter of @connections with @messages in all, on both sides. */
void agent_rig_check_talk(const struct rig *r, const char *task, unsigned connections,
			  unsigned messages);
void agent_rig_assert_weakened_by_nothing(const struct rig *r, const char *task);
uint64_t agent_rig_ledger(const Sonde__V1__TaskReport *report, const char *site);

/* The one child of @pid; 0 if there is none. */
uint32_t agent_rig_child_of(int proc, uint32_t pid);

#define AGENT_RIG_TEST(name)                                                                       \
	cmocka_unit_test_setup_teardown(name, agent_rig_set_up, agent_rig_tear_down)
#define agent_rig_main(argc, argv, tests)                                                          \
	agent_rig_main_(argc, argv, #tests, tests, sizeof(tests) / sizeof((tests)[0]))
