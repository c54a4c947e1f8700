/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks through a real sonde-probe: attach, see this process's own traffic, detach, and prove that nothing is left. */
#include "sonde-test.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/probe-spawn.h"
#include "base/num.h"
#include "probe-rig.h"

#define IDS_MAX 512

struct ids {
	struct {
		char kind;
		uint32_t id;
	} id[IDS_MAX];
	size_t n;
	uint64_t proved; /* gone, by earlier proofs */
};

/* What the probe noted: "BOOT KIND ID TAG", and "BOOT g COUNT TIME" of what was proved gone. */
static void read_ids(const struct rig *rig, struct ids *ids)
{
	char path[96], line[256];
	uint64_t id;
	FILE *f;

	*ids = (struct ids){0};
	(void)snprintf(path, sizeof(path), "%s/bpf-ids", rig->dir);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) && ids->n < IDS_MAX) {
		char *at = strchr(line, ' ');

		assert_non_null(at);
		ids->id[ids->n].kind = at[1];
		at += 3;
		at[strcspn(at, " ")] = '\0';
		assert_ok(sonde_parse_u64(at, 1, UINT32_MAX, &id));
		if (ids->id[ids->n].kind == 'g') {
			ids->proved = id;
			continue;
		}
		ids->id[ids->n++].id = (uint32_t)id;
	}
	(void)fclose(f);
}

static size_t count_alive(const struct ids *ids)
{
	size_t alive = 0;

	for (size_t i = 0; i < ids->n; i++) {
		int fd = ids->id[i].kind == 'p'	  ? bpf_prog_get_fd_by_id(ids->id[i].id)
			 : ids->id[i].kind == 'm' ? bpf_map_get_fd_by_id(ids->id[i].id)
						  : bpf_link_get_fd_by_id(ids->id[i].id);

		if (fd >= 0)
			(void)close(fd);
		alive += fd >= 0;
	}
	return alive;
}

/* The kernel frees behind a grace period. */
static bool all_gone(const struct ids *ids)
{
	const struct timespec pause = {.tv_nsec = 10000000};

	for (int i = 0; i < 6000; i++) { /* a minute: a test that hangs, not a measure */
		if (count_alive(ids) == 0)
			return true;
		(void)nanosleep(&pause, NULL);
	}
	return false;
}

static void admit(struct rig *rig, uint32_t slot, uint32_t pid)
{
	struct sonde_probe_request q = {
		.type = SONDE_PROBE_TASK_ADMIT,
		.task = slot,
		.duration_ns = 60000000000,
		.collectors = SONDE_PROBE_COLLECT_TCP,
	};

	assert_ok(rig_call(rig, &q));
	q = (struct sonde_probe_request){.type = SONDE_PROBE_TARGET_ADD, .task = slot, .pid = pid};
	q.pid_start_ticks = rig_start_ticks(pid);
	assert_ok(rig_call(rig, &q));
}

static int call(struct rig *rig, uint32_t type, uint32_t slot)
{
	const struct sonde_probe_request q = {.type = type, .task = slot};

	return rig_call(rig, &q);
}

static void start_own_task(struct rig *rig, uint32_t slot)
{
	admit(rig, slot, (uint32_t)getpid());
	assert_ok(call(rig, SONDE_PROBE_TASK_START, slot));
}

static const struct sonde_probe_reply *find(const struct rig *rig, uint32_t type)
{
	for (size_t i = 0; i < rig->n_records; i++)
		if (rig->records[i].type == type)
			return &rig->records[i];
	return NULL;
}

/* One connection over loopback, @n bytes each way, closed. Return: the server's port. */
static uint16_t talk(size_t n)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	char buf[4096] = {0};
	int listener, client, server;

	assert_true(n <= sizeof(buf));
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_ok(bind(listener, (struct sockaddr *)&addr, sizeof(addr)));
	assert_ok(listen(listener, 4));
	assert_ok(getsockname(listener, (struct sockaddr *)&addr, &len));
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_ok(connect(client, (struct sockaddr *)&addr, sizeof(addr)));
	server = accept(listener, NULL, NULL);
	assert_true(server >= 0);
	assert_int_equal(send(client, buf, n, 0), n);
	assert_int_equal(recv(server, buf, n, MSG_WAITALL), n);
	assert_int_equal(send(server, buf, n, 0), n);
	assert_int_equal(recv(client, buf, n, MSG_WAITALL), n);
	(void)close(client);
	(void)close(server);
	(void)close(listener);
	return ntohs(addr.sin_port);
}

static const struct sonde_probe_cell *find_cell(const struct rig *rig, uint16_t port, uint8_t role)
{
	for (size_t i = 0; i < rig->n_records; i++) {
		const struct sonde_probe_reply *p = &rig->records[i];

		if (p->type == SONDE_PROBE_CELL && p->cell.key.port == port &&
		    p->cell.key.role == role)
			return &p->cell;
	}
	return NULL;
}

static void a_task_attaches_counts_and_leaves_nothing(void **state)
{
	const struct sonde_probe_cell *client;
	const struct sonde_probe_reply *idle;
	struct ids ids;
	struct rig rig;
	uint16_t port;

	rig_start(&rig, NULL);
	read_ids(&rig, &ids);
	assert_int_equal(ids.n, 0); /* idle means idle */
	start_own_task(&rig, 0);
	assert_non_null(find(&rig, SONDE_PROBE_PROBE));
	assert_true(rig.end.numbers[2] > 0);
	read_ids(&rig, &ids);
	assert_true(ids.n > 0);
	assert_true(count_alive(&ids) > 0);

	port = talk(1000);
	assert_ok(call(&rig, SONDE_PROBE_SNAPSHOT, 0));
	client = find_cell(&rig, port, SONDE_TCP_ROLE_CLIENT);
	assert_non_null(client);
	assert_int_equal(client->key.pid, getpid());
	assert_int_equal(client->cell.opened, 1);
	assert_int_equal(client->cell.sent_bytes, 1000);
	assert_non_null(find(&rig, SONDE_PROBE_COST));

	assert_ok(call(&rig, SONDE_PROBE_TASK_END, 0));
	idle = find(&rig, SONDE_PROBE_IDLE);
	assert_non_null(idle);
	assert_true(idle->idle.programs > 0 && idle->idle.maps > 0 && idle->idle.links > 0);
	assert_int_equal(idle->idle.bpf_fds_left, 0);
	assert_true(all_gone(&ids));
	rig_stop(&rig);
}

static void the_second_of_two_tasks_shares_and_outlives_the_first(void **state)
{
	struct rig rig;
	struct ids ids;

	rig_start(&rig, NULL);
	start_own_task(&rig, 0);
	read_ids(&rig, &ids);
	start_own_task(&rig, 5);
	assert_non_null(find(&rig, SONDE_PROBE_PROBE)); /* told to the second as well */
	assert_true(rig.end.numbers[1] == 0);		/* nothing was loaded again */
	assert_ok(call(&rig, SONDE_PROBE_TASK_END, 0));
	assert_null(find(&rig, SONDE_PROBE_IDLE));
	assert_true(count_alive(&ids) > 0);
	assert_ok(call(&rig, SONDE_PROBE_TASK_END, 5));
	assert_non_null(find(&rig, SONDE_PROBE_IDLE));
	assert_true(all_gone(&ids));
	rig_stop(&rig);
}

static void a_task_without_a_process_is_refused(void **state)
{
	const struct sonde_probe_request q = {
		.type = SONDE_PROBE_TASK_ADMIT,
		.duration_ns = 1000000000,
		.collectors = SONDE_PROBE_COLLECT_TCP,
	};
	struct rig rig;

	rig_start(&rig, NULL);
	assert_ok(rig_call(&rig, &q));
	assert_err(call(&rig, SONDE_PROBE_TASK_START, 0), EINVAL);
	assert_err(call(&rig, SONDE_PROBE_TASK_START, 1), ENOENT);
	rig_stop(&rig);
}

/* Ends the probe in some way in the middle of a task. */
static void expect_detached_after(void (*kill_it)(struct rig *rig))
{
	struct rig rig;
	struct ids ids;

	rig_start(&rig, NULL);
	start_own_task(&rig, 0);
	read_ids(&rig, &ids);
	assert_true(count_alive(&ids) > 0);
	kill_it(&rig);
	assert_true(all_gone(&ids));
	rig_stop(&rig);
}

static void kill_worker(struct rig *rig)
{
	assert_ok(kill((pid_t)rig->hello.worker_pid, SIGKILL));
}

static void kill_keeper(struct rig *rig)
{
	assert_ok(kill((pid_t)rig->hello.keeper_pid, SIGKILL));
}

static void close_client(struct rig *rig)
{
	rig->client = sonde_probe_client_free(rig->client);
}

static void every_death_detaches_everything(void **state)
{
	expect_detached_after(kill_worker);
	expect_detached_after(kill_keeper);
	expect_detached_after(close_client);
}

static void a_new_worker_knows_no_task_and_takes_it_again(void **state)
{
	struct rig rig;

	rig_start(&rig, NULL);
	start_own_task(&rig, 2);
	kill_worker(&rig);
	rig_wait(&rig, &rig.restarts);
	assert_err(call(&rig, SONDE_PROBE_TASK_END, 2), ENOENT);
	start_own_task(&rig, 2);
	assert_ok(call(&rig, SONDE_PROBE_TASK_END, 2));
	rig_stop(&rig);
}

/* The last reply of the next packet on a bare socket; asserts that the packet is whole. */
static void next(int sock, struct sonde_probe_reply *reply)
{
	struct sonde_probe_reply replies[SONDE_PROBE_PACKET_MAX];
	ssize_t n = recv(sock, replies, sizeof(replies), MSG_TRUNC);

	assert_in_range(n, sizeof(*reply), sizeof(replies));
	assert_int_equal(n % (ssize_t)sizeof(*reply), 0);
	*reply = replies[n / (ssize_t)sizeof(*reply) - 1];
}

/* Without the client, which sends no garbage. */
static void garbage_in_mid_task_detaches_everything(void **state)
{
	struct sonde_probe_client_config config = {.path = getenv("SONDE_PROBE")};
	struct sonde_probe_request q[3] = {
		{.version = SONDE_PROBE_VERSION,
		 .type = SONDE_PROBE_TASK_ADMIT,
		 .id = 1,
		 .duration_ns = 60000000000,
		 .collectors = SONDE_PROBE_COLLECT_TCP},
		{.version = SONDE_PROBE_VERSION, .type = SONDE_PROBE_TARGET_ADD, .id = 2},
		{.version = SONDE_PROBE_VERSION, .type = SONDE_PROBE_TASK_START, .id = 3},
	};
	struct sonde_probe_child child;
	struct sonde_probe_reply reply;
	struct rig rig = {0};
	char words[128];
	struct ids ids;
	int sock;

	rig_dir_make(&rig, NULL);
	config.policy = NULL;
	config.state_dir = rig.dir;
	assert_ok(sonde_probe_spawn(&config, &sock, &child));
	assert_ok(fcntl(sock, F_SETFL, 0)); /* waits */
	next(sock, &reply);
	q[1].pid = (uint32_t)getpid();
	q[1].pid_start_ticks = rig_start_ticks(q[1].pid);
	for (size_t i = 0; i < ELEMENTS_OF(q); i++) {
		assert_int_equal(send(sock, &q[i], sizeof(q[i]), 0), sizeof(q[i]));
		do
			next(sock, &reply);
		while (reply.type != SONDE_PROBE_END);
		assert_int_equal(reply.end.error, 0);
	}
	read_ids(&rig, &ids);
	assert_true(count_alive(&ids) > 0);
	assert_int_equal(send(sock, "garbage", 7, 0), 7);
	sonde_probe_reap(&child, 60000, words, sizeof(words));
	assert_string_equal(words, "it met a message that it does not accept, see its log");
	assert_true(all_gone(&ids));
	(void)close(sock);
	rig_dir_remove(&rig);
}

/* Return: exit status of `sonde-probe --idle-proof`. */
static int idle_proof(const struct rig *rig)
{
	const char *path = getenv("SONDE_PROBE");
	int status;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)execl(path ? path : "", "sonde-probe", "--idle-proof", "--state", rig->dir,
			    NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void the_idle_proof_asks_for_every_noted_id(void **state)
{
	struct rig rig;
	struct ids ids;
	size_t noted;

	rig_start(&rig, NULL);
	start_own_task(&rig, 0);
	read_ids(&rig, &ids);
	assert_true(ids.n > 0);
	noted = ids.n;
	assert_int_equal(idle_proof(&rig), 1); /* they are alive */
	assert_ok(call(&rig, SONDE_PROBE_TASK_END, 0));
	assert_true(all_gone(&ids)); /* the proof waits for the kernel as well, but not for ever */
	assert_int_equal(idle_proof(&rig), 0);
	read_ids(&rig, &ids);
	assert_int_equal(ids.n, 0); /* proved: only how many there were is kept */
	assert_int_equal(ids.proved, noted);
	assert_int_equal(idle_proof(&rig), 0);
	read_ids(&rig, &ids);
	assert_int_equal(ids.proved, noted);
	rig_stop(&rig);
}

/* What it loads on trial is noted, gone at its end, and not loaded again. */
static void a_plan_attaches_nothing(void **state)
{
	struct rig rig;
	struct ids ids;
	size_t n;

	rig_start(&rig, NULL);
	assert_ok(call(&rig, SONDE_PROBE_PLAN, 0));
	assert_non_null(find(&rig, SONDE_PROBE_PROBE));
	read_ids(&rig, &ids);
	assert_true(ids.n > 0);
	for (size_t i = 0; i < ids.n; i++)
		assert_int_not_equal(ids.id[i].kind, 'l');
	assert_true(all_gone(&ids));
	n = ids.n;
	assert_ok(call(&rig, SONDE_PROBE_PLAN, 0));
	read_ids(&rig, &ids);
	assert_int_equal(ids.n, n);
	rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plan_attaches_nothing),
		cmocka_unit_test(a_task_attaches_counts_and_leaves_nothing),
		cmocka_unit_test(the_second_of_two_tasks_shares_and_outlives_the_first),
		cmocka_unit_test(a_task_without_a_process_is_refused),
		cmocka_unit_test(every_death_detaches_everything),
		cmocka_unit_test(a_new_worker_knows_no_task_and_takes_it_again),
		cmocka_unit_test(garbage_in_mid_task_detaches_everything),
		cmocka_unit_test(the_idle_proof_asks_for_every_noted_id),
	};

	rig_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
