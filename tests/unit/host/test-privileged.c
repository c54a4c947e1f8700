/* SPDX-License-Identifier: Apache-2.0 */
/* What the probe reads of /proc, as parsers and on this process itself. */
#include "sonde-test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "host/cgroup2.h"
#include "host/exe.h"
#include "host/identity.h"
#include "host/netns.h"
#include "host/proc.h"

static void reads_the_number_of_a_namespace_link(void **state)
{
	uint32_t v = 7;

	assert_ok(sonde_netns_parse("net:[4026531840]", "net", &v));
	assert_true(v == 4026531840);
	assert_err(sonde_netns_parse("pid:[4026531840]", "net", &v), EBADMSG);
	assert_err(sonde_netns_parse("net:[]", "net", &v), EBADMSG);
	assert_err(sonde_netns_parse("net:[1", "net", &v), EBADMSG);
	assert_err(sonde_netns_parse("net:[1]x", "net", &v), EBADMSG);
	assert_err(sonde_netns_parse("net:[-1]", "net", &v), EBADMSG);
	assert_err(sonde_netns_parse("net:[4294967296]", "net", &v), EBADMSG);
	assert_err(sonde_netns_parse("net:[99999999999999]", "net", &v), EBADMSG);
	assert_true(v == 4026531840);
}

static void finds_the_cgroup2_root_in_mountinfo(void **state)
{
	char buf[32] = "x";

	assert_ok(sonde_cgroup2_parse_mount(
		"36 35 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", buf, sizeof(buf)));
	assert_string_equal(buf, "/sys/fs/cgroup/unified");
	assert_ok(sonde_cgroup2_parse_mount(
		"36 35 0:32 / /a\\040b\\134 rw,relatime shared:9 master:1 - cgroup2 c rw\n", buf,
		sizeof(buf)));
	assert_string_equal(buf, "/a b\\");
	assert_err(sonde_cgroup2_parse_mount("36 35 0:32 / /a rw - cgroup cgroup rw\n", buf,
					     sizeof(buf)),
		   ENOENT);
	assert_err(sonde_cgroup2_parse_mount("36 35 0:32 /sub /a rw - cgroup2 cgroup2 rw\n", buf,
					     sizeof(buf)),
		   ENOENT);
	assert_err(sonde_cgroup2_parse_mount("36 35 0:32 / /a rw\n", buf, sizeof(buf)), EBADMSG);
	assert_err(sonde_cgroup2_parse_mount("", buf, sizeof(buf)), EBADMSG);
	assert_err(
		sonde_cgroup2_parse_mount("1 2 3 / /a\\000b rw - cgroup2 c rw\n", buf, sizeof(buf)),
		EBADMSG);
	assert_err(sonde_cgroup2_parse_mount(
			   "1 2 3 / /longer/than/the/buffer/of/this/test rw - cgroup2 c rw\n", buf,
			   sizeof(buf)),
		   EBADMSG);
}

static void lists_the_cgroups_of_all_hierarchies(void **state)
{
	char buf[32];

	assert_ok(sonde_identity_parse_cgroup("7:memory:/a\n1:name=systemd:/b:c\n0::/\n", buf,
					      sizeof(buf)));
	assert_string_equal(buf, "/a\n/b:c\n/\n");
	assert_ok(sonde_identity_parse_cgroup("", buf, sizeof(buf)));
	assert_string_equal(buf, "");
	assert_err(sonde_identity_parse_cgroup("7:memory\n", buf, sizeof(buf)), EBADMSG);
	assert_err(sonde_identity_parse_cgroup("\n", buf, sizeof(buf)), EBADMSG);
	assert_err(sonde_identity_parse_cgroup("0::/longer/than/the/buffer/of/the/test\n", buf,
					       sizeof(buf)),
		   EMSGSIZE);
}

static void knows_this_process_and_not_another_with_its_pid(void **state)
{
	_cleanup_close_ int proc_fd = sonde_proc_open("/proc");
	_cleanup_free_ struct sonde_identity *id = calloc(1, sizeof(*id));
	struct sonde_proc_stat own;
	struct stat st;

	assert_non_null(id);
	assert_ok(sonde_proc_read_stat(proc_fd, (uint32_t)getpid(), &own));
	assert_ok(sonde_identity_read(proc_fd, own.pid, own.start_ticks, id));
	assert_int_equal(id->unknown, 0);
	assert_int_equal(id->uid, getuid());
	assert_string_equal(id->name, own.comm);
	assert_non_null(strstr(id->exe, "test-host-privileged"));
	assert_ok(stat("/proc/self/ns/net", &st));
	assert_int_equal(id->net_namespace, st.st_ino);
	assert_err(sonde_identity_read(proc_fd, own.pid, own.start_ticks + 1, id), ESRCH);
	assert_err(sonde_identity_read(proc_fd, 0x7ffffffe, 1, id), ESRCH);
}

static void a_path_that_does_not_fit_is_cut_and_says_so(void **state)
{
	_cleanup_close_ int proc_fd = sonde_proc_open("/proc");
	char whole[4096], part[8];
	bool cut = true;

	assert_ok(sonde_exe_read(proc_fd, (uint32_t)getpid(), whole, sizeof(whole), &cut));
	assert_false(cut);
	assert_ok(sonde_exe_read(proc_fd, (uint32_t)getpid(), part, sizeof(part), &cut));
	assert_true(cut);
	assert_int_equal(strlen(part), sizeof(part) - 1);
	assert_memory_equal(whole, part, sizeof(part) - 1);
	assert_err(sonde_exe_read(proc_fd, 0x7ffffffe, part, sizeof(part), &cut), ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_number_of_a_namespace_link),
		cmocka_unit_test(finds_the_cgroup2_root_in_mountinfo),
		cmocka_unit_test(lists_the_cgroups_of_all_hierarchies),
		cmocka_unit_test(knows_this_process_and_not_another_with_its_pid),
		cmocka_unit_test(a_path_that_does_not_fit_is_cut_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
