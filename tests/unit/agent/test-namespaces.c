/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/namespaces.h"

#define AGENT 1
#define TARGET 2

/* A file that is there keeps its inode, as a namespace keeps its number and as another may take it over. */
static void write_file(int dir, uint32_t pid, const char *name, const char *text)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "%u", pid);
	(void)mkdirat(dir, path, 0700);
	(void)snprintf(path, sizeof(path), "%u/net", pid);
	(void)mkdirat(dir, path, 0700);
	(void)snprintf(path, sizeof(path), "%u/net/%s", pid, name);
	fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_true(dprintf(fd, "%s", text) >= 0);
	(void)close(fd);
}

static void set_segments(int dir, uint32_t pid, unsigned int n)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "Tcp: InSegs\nTcp: %u\n", n);
	write_file(dir, pid, "snmp", text);
	write_file(dir, pid, "netstat", "");
}

static uint64_t look(struct sonde_namespaces *s, int dir, size_t n)
{
	const uint32_t pids[] = {TARGET};

	assert_ok(sonde_namespaces_look(s, dir, AGENT, pids, n));
	assert_int_equal(s->n, 2);
	return sonde_namespace_growth(&s->list[1].now, &s->list[1].base, SONDE_NET_Tcp_InSegs);
}

static void another_of_the_same_number_counts_from_its_own_begin(void **state)
{
	_cleanup_(sonde_namespaces_done) struct sonde_namespaces s = {0};
	char path[] = "/tmp/sonde-test-XXXXXX", command[64];
	int dir;

	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	set_segments(dir, AGENT, 1);
	set_segments(dir, TARGET, 100);
	assert_int_equal(look(&s, dir, 1), 0);
	set_segments(dir, TARGET, 107);
	assert_int_equal(look(&s, dir, 1), 7);
	assert_int_equal(look(&s, dir, 0), 7); /* nobody is left: the last numbers stay */
	set_segments(dir, TARGET, 109);
	assert_int_equal(look(&s, dir, 1), 9); /* the same one, met again */
	assert_int_equal(look(&s, dir, 0), 9);
	set_segments(dir, TARGET, 3);
	assert_int_equal(look(&s, dir, 1), 0);
	set_segments(dir, TARGET, 5);
	assert_int_equal(look(&s, dir, 1), 2);
	(void)close(dir);
	(void)snprintf(command, sizeof(command), "rm -r %s", path);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_of_the_same_number_counts_from_its_own_begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
