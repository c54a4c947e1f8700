/* SPDX-License-Identifier: Apache-2.0 */
/* What must not pass: messages that the agent never sends, and system calls that the probe never makes. */
#include "sonde-test.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/probe-spawn.h"
#include "probe-rig.h"

struct raw {
	struct rig rig; /* its folder alone */
	struct sonde_probe_child child;
	struct sonde_probe_hello hello;
	int sock;
};

/* The last reply of the next packet. Return: its bytes, 0 at the end of file. Asserts that one comes. */
static ssize_t next(const struct raw *raw, struct sonde_probe_reply *reply)
{
	struct sonde_probe_reply replies[SONDE_PROBE_PACKET_MAX];
	struct pollfd p = {.fd = raw->sock, .events = POLLIN};
	ssize_t n;

	assert_int_equal(poll(&p, 1, 60000), 1);
	n = recv(raw->sock, replies, sizeof(replies), MSG_TRUNC);
	if (n <= 0)
		return n < 0 && errno == ECONNRESET ? 0 : n;
	assert_in_range(n, sizeof(*reply), sizeof(replies));
	*reply = replies[(size_t)n / sizeof(*reply) - 1];
	return (ssize_t)sizeof(*reply);
}

static void raw_start(struct raw *raw)
{
	struct sonde_probe_client_config config = {.path = getenv("SONDE_PROBE")};
	struct sonde_probe_reply reply;

	*raw = (struct raw){.sock = -1};
	rig_dir_make(&raw->rig, NULL);
	config.policy = NULL;
	config.state_dir = raw->rig.dir;
	assert_ok(sonde_probe_spawn(&config, &raw->sock, &raw->child));
	assert_int_equal(next(raw, &reply), sizeof(reply));
	assert_int_equal(reply.type, SONDE_PROBE_HELLO);
	raw->hello = reply.hello;
}

static void raw_stop(struct raw *raw, const char *expected_words)
{
	char words[128];

	sonde_probe_reap(&raw->child, 60000, words, sizeof(words));
	assert_string_equal(words, expected_words);
	(void)close(raw->sock);
	rig_dir_remove(&raw->rig);
}

/* Every message of @n bytes is refused: the probe ends, without an answer, and in order. */
static void expect_end(const void *message, size_t n)
{
	struct sonde_probe_reply reply;
	struct raw raw;

	raw_start(&raw);
	assert_int_equal(send(raw.sock, message, n, MSG_NOSIGNAL), n);
	assert_int_equal(next(&raw, &reply), 0);
	assert_true(rig_gone(raw.hello.worker_pid));
	raw_stop(&raw, "it met a message that it does not accept, see its log");
}

static struct sonde_probe_request good(void)
{
	return (struct sonde_probe_request){
		.version = SONDE_PROBE_VERSION,
		.type = SONDE_PROBE_SNAPSHOT,
		.id = 1,
	};
}

static void messages_of_another_size_end_the_probe(void **state)
{
	struct {
		struct sonde_probe_request request;
		uint8_t more[4096];
	} message = {.request = good()};

	expect_end(&message, 0);
	expect_end(&message, 1);
	expect_end(&message, sizeof(message.request) - 1);
	expect_end(&message, sizeof(message.request) + 1);
	expect_end(&message, sizeof(message));
}

static void messages_of_another_kind_end_the_probe(void **state)
{
	struct sonde_probe_request q;

	memset(&q, 0xff, sizeof(q));
	expect_end(&q, sizeof(q));
	q = good();
	q.version++;
	expect_end(&q, sizeof(q));
	q = good();
	q.type = 0;
	expect_end(&q, sizeof(q));
	q = good();
	q.type = _SONDE_PROBE_REQUEST_MAX;
	expect_end(&q, sizeof(q));
	q = good();
	q.id = 0;
	expect_end(&q, sizeof(q));
	q = good();
	q.type = SONDE_PROBE_TASK_END;
	q.task = SONDE_PROBE_TASKS_MAX;
	expect_end(&q, sizeof(q));
	q = good();
	q.pad2[3] = 1;
	expect_end(&q, sizeof(q));
}

/* Up to the END of a request; asserts that it comes. */
static void drain_answer(const struct raw *raw)
{
	struct sonde_probe_reply reply;

	do
		assert_int_equal(next(raw, &reply), sizeof(reply));
	while (reply.type != SONDE_PROBE_END);
}

static void messages_out_of_order_end_the_probe(void **state)
{
	struct sonde_probe_request q = good();
	struct sonde_probe_reply reply;
	struct raw raw;

	raw_start(&raw);
	q.id = 7;
	assert_int_equal(send(raw.sock, &q, sizeof(q), 0), sizeof(q));
	drain_answer(&raw);
	assert_int_equal(send(raw.sock, &q, sizeof(q), 0), sizeof(q));
	assert_int_equal(next(&raw, &reply), 0);
	raw_stop(&raw, "it met a message that it does not accept, see its log");
}

/* Descriptors sent along are not taken: the message is judged alone. */
static void a_descriptor_in_a_message_is_dropped(void **state)
{
	struct sonde_probe_request q = good();
	struct iovec iov = {.iov_base = &q, .iov_len = sizeof(q)};
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fds[2];
	struct raw raw;
	char byte;

	raw_start(&raw);
	assert_ok(pipe(fds));
	*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
			      .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(c), &fds[1], sizeof(int));
	assert_int_equal(sendmsg(raw.sock, &msg, 0), sizeof(q));
	drain_answer(&raw);
	(void)close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 0); /* nobody else holds the other end */
	(void)close(fds[0]);
	(void)close(raw.sock);
	raw.sock = -1;
	raw_stop(&raw, "it ended in order");
}

#if defined(__x86_64__)
/* Stops the process where it waits: the worker in poll(2), the keeper in wait4(2). */
static void stop_in_wait(pid_t pid, struct user_regs_struct *ret)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int status;

	assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, NULL), 0);
	for (int i = 0; i < 60000; i++) { /* a test that hangs, not a measure */
		assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, __WALL), pid);
		assert_true(WIFSTOPPED(status));
		assert_int_equal(ptrace(PTRACE_GETREGS, pid, NULL, ret), 0);
		if (ret->orig_rax == SYS_poll || ret->orig_rax == SYS_wait4)
			return;
		assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
		(void)nanosleep(&pause, NULL);
	}
	fail_msg("process %d does not come to rest", (int)pid);
}

/*
 * Makes the process call @nr next. Return: its result as the kernel gave it; or INT64_MIN and *@ret_signal
 * when it died of it.
 */
static int64_t inject(pid_t pid, long nr, uint64_t arg0, int *ret_signal)
{
	struct user_regs_struct regs, changed;
	int status;

	stop_in_wait(pid, &regs);
	changed = regs;
	changed.rip -= 2; /* the syscall instruction that it waits in */
	changed.rax = (unsigned long long)nr;
	changed.orig_rax = (unsigned long long)-1; /* no restart of the interrupted call */
	changed.rdi = arg0;
	changed.rsi = changed.rdx = 0;
	assert_int_equal(ptrace(PTRACE_SETREGS, pid, NULL, &changed), 0);
	assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	if (WIFSIGNALED(status)) {
		*ret_signal = WTERMSIG(status);
		return INT64_MIN;
	}
	assert_int_equal(ptrace(PTRACE_GETREGS, pid, NULL, &changed), 0);
	regs.rax = (unsigned long long)-EINTR; /* as if a signal had ended the wait */
	regs.orig_rax = (unsigned long long)-1;
	assert_int_equal(ptrace(PTRACE_SETREGS, pid, NULL, &regs), 0);
	assert_int_equal(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
	return (int64_t)changed.rax;
}

static void system_calls_outside_the_list_are_refused(void **state)
{
	static const long refused[] = {SYS_chmod, SYS_unlink, SYS_ioctl, SYS_perf_event_open,
				       SYS_sethostname};
	static const long deadly[] = {SYS_socket, SYS_execve, SYS_clone, SYS_ptrace, SYS_setns};
	const struct sonde_probe_request request = {.type = SONDE_PROBE_SNAPSHOT};
	struct rig rig;
	int sig = 0;

	rig_start(&rig, NULL);
	for (size_t i = 0; i < ELEMENTS_OF(refused); i++)
		assert_int_equal(inject((pid_t)rig.hello.worker_pid, refused[i], 0, &sig), -EPERM);
	assert_ok(rig_call(&rig, &request));
	assert_int_equal(rig.restarts, 0);
	rig_stop(&rig);

	for (size_t i = 0; i < ELEMENTS_OF(deadly); i++) {
		rig_start(&rig, NULL);
		assert_true(inject((pid_t)rig.hello.worker_pid, deadly[i], AF_INET, &sig) ==
			    INT64_MIN);
		assert_int_equal(sig, SIGSYS);
		rig_wait(&rig, &rig.restarts);
		rig_stop(&rig);
	}
}

/* The keeper waits in wait4(2): it may fork a worker and nothing else. */
static void the_keeper_may_not_open_sockets_or_execute(void **state)
{
	static const long deadly[] = {SYS_socket, SYS_execve, SYS_setns};
	struct rig rig;
	int sig = 0;

	for (size_t i = 0; i < ELEMENTS_OF(deadly); i++) {
		rig_start(&rig, NULL);
		assert_true(inject((pid_t)rig.hello.keeper_pid, deadly[i], AF_INET, &sig) ==
			    INT64_MIN);
		assert_int_equal(sig, SIGSYS);
		rig_wait(&rig, &rig.gone);
		assert_true(rig_gone(rig.hello.worker_pid));
		rig_stop(&rig);
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_of_another_size_end_the_probe),
		cmocka_unit_test(messages_of_another_kind_end_the_probe),
		cmocka_unit_test(messages_out_of_order_end_the_probe),
		cmocka_unit_test(a_descriptor_in_a_message_is_dropped),
#if defined(__x86_64__)
		cmocka_unit_test(system_calls_outside_the_list_are_refused),
		cmocka_unit_test(the_keeper_may_not_open_sockets_or_execute),
#endif
	};

	rig_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
