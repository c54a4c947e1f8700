/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "probe/bpf-ids.h"
#include "test-folder.h"

#define BOOT "01234567-89ab-cdef-0123-456789abcdef"

struct folder {
	char path[64];
	int fd;
	int ids_fd; /* -1 until open_ids() */
};

static void make_folder(struct folder *d)
{
	(void)snprintf(d->path, sizeof(d->path), "/tmp/sonde-test-ids-XXXXXX");
	assert_ok(sonde_test_folder_make(d->path));
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(d->fd >= 0);
	d->ids_fd = -1;
}

static void open_ids(struct folder *d)
{
	d->ids_fd = sonde_bpf_ids_open(d->fd);
	assert_true(d->ids_fd >= 0);
}

static void remove_folder(struct folder *d)
{
	closep(&d->ids_fd);
	(void)close(d->fd);
	assert_ok(sonde_test_folder_remove(d->path));
}

static void reads_a_line_of_this_boot_alone(void **state)
{
	struct sonde_bpf_id id = {0};

	assert_ok(sonde_bpf_ids_parse_line(BOOT " p 17 0011aabb\n", BOOT, &id));
	assert_int_equal(id.kind, 'p');
	assert_int_equal(id.id, 17);
	assert_string_equal(id.tag, "0011aabb");
	assert_err(sonde_bpf_ids_parse_line("x" BOOT " p 17 00\n", BOOT, &id), ESTALE);
	assert_err(sonde_bpf_ids_parse_line(BOOT "\n", BOOT, &id), EBADMSG);
	assert_err(sonde_bpf_ids_parse_line(BOOT " q 17 00\n", BOOT, &id), EBADMSG);
	assert_err(sonde_bpf_ids_parse_line(BOOT " p 0 00\n", BOOT, &id), EBADMSG);
	assert_err(sonde_bpf_ids_parse_line(BOOT " p 4294967296 00\n", BOOT, &id), EBADMSG);
	assert_err(sonde_bpf_ids_parse_line(BOOT " p 17 \n", BOOT, &id), EBADMSG);
	assert_err(sonde_bpf_ids_parse_line(BOOT " p 17 a b\n", BOOT, &id), EBADMSG);
	assert_err(sonde_bpf_ids_parse_line(BOOT " p 17 0123456789012345678901234567890123\n", BOOT,
					    &id),
		   EBADMSG);
	assert_int_equal(id.id, 17); /* written on success only */
}

static void keeps_what_was_noted_and_drops_other_boots(void **state)
{
	struct sonde_bpf_proved proved = {0};
	static const char old[] = BOOT " p 1 aa\nnonsense\n";
	_cleanup_close_ int fd = -1;
	struct folder d;
	size_t n = 0;

	make_folder(&d);
	fd = openat(d.fd, SONDE_BPF_IDS_FILE, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, old, strlen(old)), strlen(old));
	open_ids(&d);
	assert_ok(sonde_bpf_ids_note(d.ids_fd, &(struct sonde_bpf_id){'p', 11, "aa"}));
	assert_ok(sonde_bpf_ids_note(d.ids_fd, &(struct sonde_bpf_id){'m', 12, "a name"}));
	assert_ok(sonde_bpf_ids_note(d.ids_fd, &(struct sonde_bpf_id){'l', 13, ""}));
	assert_ok(sonde_bpf_ids_tidy(d.ids_fd, &n, &proved));
	assert_int_equal(n, 3);
	assert_ok(sonde_bpf_ids_tidy(d.ids_fd, &n, &proved));
	assert_int_equal(n, 3);
	remove_folder(&d);
}

/* A second proof finds no id: it still knows what the first one found. */
static void what_was_proved_is_remembered_till_the_next_boot(void **state)
{
	struct sonde_bpf_proved proved = {0};
	char boot[40] = "", text[256];
	struct folder d;
	size_t n = 0;
	FILE *f;

	f = fopen("/proc/sys/kernel/random/boot_id", "re");
	assert_non_null(f);
	assert_non_null(fgets(boot, sizeof(boot), f));
	assert_ok(fclose(f));
	boot[strcspn(boot, "\n")] = '\0';
	make_folder(&d);
	open_ids(&d);
	(void)snprintf(text, sizeof(text), BOOT " g 7 1000\n%s g 117 1763771642000\n%s g x 1\n",
		       boot, boot);
	assert_int_equal(write(d.ids_fd, text, strlen(text)), strlen(text));
	for (unsigned i = 0; i < 2; i++) {
		assert_ok(sonde_bpf_ids_tidy(d.ids_fd, &n, &proved));
		assert_int_equal(n, 0);
		assert_int_equal(proved.ids, 117);
		assert_int_equal(proved.wall_ms, 1763771642000);
	}
	remove_folder(&d);
}

static void the_oldest_go_when_there_are_too_many(void **state)
{
	struct sonde_bpf_proved proved = {0};
	struct folder d;
	struct stat st;
	size_t n = 0;

	make_folder(&d);
	open_ids(&d);
	for (uint32_t i = 0; i < SONDE_BPF_IDS_MAX + 10; i++)
		assert_ok(sonde_bpf_ids_note(d.ids_fd, &(struct sonde_bpf_id){'p', i + 1, "aa"}));
	assert_ok(sonde_bpf_ids_tidy(d.ids_fd, &n, &proved));
	assert_int_equal(n, SONDE_BPF_IDS_MAX);
	assert_ok(fstatat(d.fd, SONDE_BPF_IDS_FILE, &st, 0));
	assert_true(st.st_size < 1024L * 1024);
	remove_folder(&d);
}

static void the_file_stays_bounded_while_ids_are_noted(void **state)
{
	static const struct sonde_bpf_id id = {'p', 1, "0123456789012345678901234567890"};
	off_t largest = 0;
	struct folder d;
	struct stat st;

	make_folder(&d);
	open_ids(&d);
	for (uint32_t i = 0; i < 4 * SONDE_BPF_IDS_MAX; i++) {
		assert_ok(sonde_bpf_ids_note(d.ids_fd, &id));
		assert_ok(fstat(d.ids_fd, &st));
		largest = st.st_size > largest ? st.st_size : largest;
	}
	assert_true(st.st_size < largest); /* it was tidied on the way */
	assert_true(largest < 1024L * 1024);
	remove_folder(&d);
}

static void a_link_in_place_of_the_file_is_refused(void **state)
{
	struct folder d;

	make_folder(&d);
	assert_ok(symlinkat("/dev/null", d.fd, SONDE_BPF_IDS_FILE));
	assert_err(sonde_bpf_ids_open(d.fd), ELOOP);
	remove_folder(&d);
}

static void this_process_holds_no_bpf(void **state)
{
	struct sonde_probe_idle proof = {.programs = 5};
	uint32_t n = 99;

	assert_ok(sonde_bpf_fds_count(&n));
	assert_int_equal(n, 0);
	assert_ok(sonde_bpf_ids_prove(-1, 0, &proof));
	assert_int_equal(proof.programs, 5);
	assert_int_equal(proof.ids_asked, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_line_of_this_boot_alone),
		cmocka_unit_test(keeps_what_was_noted_and_drops_other_boots),
		cmocka_unit_test(what_was_proved_is_remembered_till_the_next_boot),
		cmocka_unit_test(the_oldest_go_when_there_are_too_many),
		cmocka_unit_test(the_file_stays_bounded_while_ids_are_noted),
		cmocka_unit_test(a_link_in_place_of_the_file_is_refused),
		cmocka_unit_test(this_process_holds_no_bpf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
