/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include "probe-rig.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "host/privilege.h"
#include "host/proc.h"
#include "test-folder.h"

#define WAIT_MAX_NS (60 * SONDE_NS_PER_S) /* a test that hangs, not a measure */

static void on_hello(void *ctx, const struct sonde_probe_hello *hello)
{
	struct rig *rig = ctx;

	rig->hello = *hello;
	rig->hellos++;
}

static void on_restart(void *ctx, const struct sonde_probe_hello *hello)
{
	struct rig *rig = ctx;

	rig->hello = *hello;
	rig->restarts++;
}

static void on_task_ended(void *ctx, const struct sonde_probe_task_ended *ended)
{
	struct rig *rig = ctx;

	rig->task_ended++;
}

static void on_gone(void *ctx, const char *words)
{
	struct rig *rig = ctx;

	rig->gone++;
	(void)snprintf(rig->words, sizeof(rig->words), "%s", words);
}

void rig_dir_make(struct rig *rig, const char *policy)
{
	_cleanup_close_ int fd = -1;

	(void)snprintf(rig->dir, sizeof(rig->dir), "/tmp/sonde-test-probe-XXXXXX");
	assert_ok(sonde_test_folder_make(rig->dir));
	(void)snprintf(rig->policy, sizeof(rig->policy), "%s/policy.yaml", rig->dir);
	if (!policy)
		return;
	fd = open(rig->policy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, policy, strlen(policy)), strlen(policy));
}

void rig_dir_remove(struct rig *rig)
{
	(void)sonde_test_folder_remove(rig->dir); /* a worker that was killed may still be in it */
}

int rig_start_only(struct rig *rig, const char *policy)
{
	struct sonde_probe_client_config config = {.path = getenv("SONDE_PROBE")};
	const struct sonde_probe_client_handlers handlers = {
		.on_hello = on_hello,
		.on_restart = on_restart,
		.on_task_ended = on_task_ended,
		.on_gone = on_gone,
		.ctx = rig,
	};
	int r;

	*rig = (struct rig){0};
	rig->records = calloc(RIG_RECORDS_MAX, sizeof(*rig->records));
	assert_non_null(rig->records);
	rig_dir_make(rig, policy);
	config.policy = policy ? rig->policy : NULL;
	config.state_dir = rig->dir;
	config.verbose = getenv("SONDE_TEST_VERBOSE") ? 1 : 0;
	assert_ok(sd_event_new(&rig->event));
	r = sonde_probe_client_start(&config, &rig->client);
	if (r == 0)
		assert_ok(sonde_probe_client_attach(rig->client, rig->event, handlers));
	return r;
}

void rig_start(struct rig *rig, const char *policy)
{
	assert_ok(rig_start_only(rig, policy));
	rig_wait(rig, &rig->hellos);
}

void rig_stop(struct rig *rig)
{
	rig->client = sonde_probe_client_free(rig->client);
	rig->event = sd_event_unref(rig->event);
	free(rig->records);
	rig_dir_remove(rig);
}

void rig_wait(struct rig *rig, const unsigned int *flag)
{
	uint64_t until = sonde_mono_ns() + WAIT_MAX_NS;

	while (*flag == 0 && sonde_mono_ns() < until)
		assert_true(sd_event_run(rig->event, 100000) >= 0);
	assert_true(*flag != 0);
}

static void on_record(void *ctx, const struct sonde_probe_reply *reply)
{
	struct rig *rig = ctx;

	if (rig->n_records < RIG_RECORDS_MAX)
		rig->records[rig->n_records++] = *reply;
}

static void on_end(void *ctx, int error, const struct sonde_probe_end *end)
{
	struct rig *rig = ctx;

	rig->error = error;
	if (end)
		rig->end = *end;
	rig->ended = true;
}

int rig_call(struct rig *rig, const struct sonde_probe_request *request)
{
	const struct sonde_probe_call call = {on_record, on_end, rig};
	uint64_t until = sonde_mono_ns() + WAIT_MAX_NS;
	int r;

	rig->n_records = 0;
	rig->ended = false;
	rig->end = (struct sonde_probe_end){0};
	r = sonde_probe_client_request(rig->client, request, 0, call);
	if (r < 0)
		return r;
	while (!rig->ended && sonde_mono_ns() < until)
		assert_true(sd_event_run(rig->event, 100000) >= 0);
	assert_true(rig->ended);
	return rig->error;
}

bool rig_status_is(uint32_t pid, const char *key, const char *value)
{
	char path[32], line[256];
	size_t n = strlen(key);
	bool is = false;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%u/status", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, key, n) == 0 && strncmp(line + n, ":\t", 2) == 0)
			is = strcmp(line + n + 2, value) == 0;
	}
	(void)fclose(f);
	return is;
}

uint64_t rig_start_ticks(uint32_t pid)
{
	_cleanup_close_ int proc_fd = sonde_proc_open("/proc");
	struct sonde_proc_stat stat;

	return sonde_proc_read_stat(proc_fd, pid, &stat) < 0 ? 0 : stat.start_ticks;
}

bool rig_gone(uint32_t pid)
{
	_cleanup_close_ int proc_fd = sonde_proc_open("/proc");
	const struct timespec pause = {.tv_nsec = 10000000};
	struct sonde_proc_stat stat;

	for (uint64_t until = sonde_mono_ns() + WAIT_MAX_NS; sonde_mono_ns() < until;) {
		if (sonde_proc_read_stat(proc_fd, pid, &stat) < 0 || stat.state == 'Z' ||
		    stat.state == 'X')
			return true;
		(void)nanosleep(&pause, NULL);
	}
	return false;
}

void rig_need_root(void)
{
	uint64_t permitted = 0;

	if (geteuid() == 0 && sonde_privilege_permitted(&permitted) == 0 &&
	    permitted & SONDE_CAP(CAP_SYS_ADMIN) && permitted & SONDE_CAP(CAP_BPF))
		return;
	(void)fprintf(stderr, "skipped: needs root with CAP_BPF and CAP_SYS_ADMIN\n");
	exit(SONDE_EXIT_SKIP);
}
