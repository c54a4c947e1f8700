/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/drop-class.h"
#include "model/ledger.h"
#include "model/meters.h"
#include "model/process.h"
#include "model/task.h"

static void a_task_state_survives_its_name(void **state)
{
	enum sonde_task_state s;

	for (unsigned i = 0; i < _SONDE_TASK_STATE_MAX; i++) {
		assert_ok(sonde_task_state_from_name(sonde_task_state_name(i), &s));
		assert_int_equal(s, i);
	}
	assert_err(sonde_task_state_from_name("Running", &s), EINVAL);
	assert_false(sonde_task_state_final(SONDE_TASK_DRAINING));
	assert_true(sonde_task_state_final(SONDE_TASK_DONE));
	assert_true(sonde_task_state_final(SONDE_TASK_STOPPED));
}

static void each_drop_reason_has_words(void **state)
{
	const char *reason, *cause, *before = "";
	size_t n = 0;

	for (; (reason = sonde_drop_reason_at(n)); n++) {
		const char *means = sonde_drop_means(reason, &cause);

		assert_true(strcmp(before, reason) < 0); /* or it would not be found */
		assert_non_null(means);
		assert_true(strlen(means) > 10 && strlen(means) < 120);
		assert_non_null(cause);
		assert_true(strlen(cause) > 10 && strlen(cause) < 120);
		assert_int_not_equal(sonde_drop_class_of(reason), SONDE_DROP_UNCLASSIFIED);
		before = reason;
	}
	assert_true(n > 80);
	assert_null(sonde_drop_means("NOT_SPECIFIED", &cause));
	assert_null(cause);
}

static void a_drop_reason_finds_its_class(void **state)
{
	static const struct {
		const char *reason;
		enum sonde_drop_class class;
	} rows[] = {
		{"NETFILTER_DROP", SONDE_DROP_LOSS},	  /* nft drop */
		{"SOCKET_RCVBUFF", SONDE_DROP_LOSS},	  /* full receive buffer */
		{"TCP_LISTEN_OVERFLOW", SONDE_DROP_LOSS}, /* full accept queue */
		{"BPF_CGROUP_EGRESS", SONDE_DROP_LOSS},	  /* first row */
		{"XFRM_POLICY", SONDE_DROP_LOSS},	  /* last row */
		{"QUEUE_PURGE", SONDE_DROP_TEARDOWN},	  /* a normal close */
		{"TCP_OLD_DATA", SONDE_DROP_DUPLICATE},	  /* a spurious probe */
		{"TCP_INVALID_SYN", SONDE_DROP_REFUSED},
		{"NOT_SPECIFIED", SONDE_DROP_UNCLASSIFIED},
		{"A_REASON_OF_2031", SONDE_DROP_UNCLASSIFIED},
		{"", SONDE_DROP_UNCLASSIFIED},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++)
		assert_int_equal(sonde_drop_class_of(rows[i].reason), rows[i].class);
	assert_string_equal(sonde_drop_class_name(SONDE_DROP_LOSS), "loss");
}

/* A full accept queue behind SYN cookies has the reason of a port that nobody listens at. */
static void a_site_tells_more_than_the_reason(void **state)
{
	static const struct {
		const char *reason, *site;
		enum sonde_drop_class class;
	} rows[] = {
		{"NO_SOCKET", "cookie_v4_check", SONDE_DROP_LOSS},
		{"NO_SOCKET", "cookie_v6_check", SONDE_DROP_LOSS},
		{"NO_SOCKET", "tcp_v4_rcv", SONDE_DROP_REFUSED},
		{"NO_SOCKET", "", SONDE_DROP_REFUSED},
		{"TCP_RESET", "cookie_v4_check", SONDE_DROP_TEARDOWN},
	};
	const char *cause, *plain_cause;

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		enum sonde_drop_class plain = sonde_drop_class_of(rows[i].reason);
		const char *means = sonde_drop_means_at(rows[i].reason, rows[i].site, &cause);
		bool same = means == sonde_drop_means(rows[i].reason, &plain_cause);

		assert_int_equal(sonde_drop_class_at(plain, rows[i].reason, rows[i].site),
				 rows[i].class);
		assert_int_equal(same, plain == rows[i].class);
		assert_int_equal(cause == plain_cause, same);
	}
	assert_non_null(strstr(sonde_drop_means_at("NO_SOCKET", "cookie_v4_check", &cause),
			       "accept queue was full"));
	assert_non_null(strstr(cause, "accepts too slowly"));
}

static void each_ledger_site_has_a_name_of_its_own(void **state)
{
	for (unsigned i = 0; i < _SONDE_LEDGER_MAX; i++) {
		const struct sonde_ledger_info *info = sonde_ledger_info(i);

		assert_non_null(info->name);
		assert_non_null(info->words);
		for (unsigned other = 0; other < i; other++)
			assert_string_not_equal(sonde_ledger_info(other)->name, info->name);
	}
}

static void each_meter_has_a_name_of_its_own(void **state)
{
	for (unsigned i = 0; i < _SONDE_METER_MAX; i++) {
		const struct sonde_meter_info *info = sonde_meter_info(i);

		assert_int_equal(strncmp(info->name, "sonde_net_", 10), 0);
		assert_ptr_equal(sonde_meter_find(info->name), info);
		assert_non_null(sonde_meter_kind_name(info->kind));
	}
	assert_null(sonde_meter_find("sonde_net_"));
}

static void skywalking_bounds_ascend_and_take_their_own_value(void **state)
{
	for (size_t i = 1; i < SONDE_SKYWALKING_BOUNDS; i++) {
		uint32_t b = sonde_skywalking_bounds_us[i];

		assert_true(sonde_skywalking_bounds_us[i - 1] < b);
		assert_int_equal(sonde_skywalking_bucket(b), i);
		assert_int_equal(sonde_skywalking_bucket(b - 1), i - 1);
	}
	assert_int_equal(sonde_skywalking_bucket(0), 0);
	assert_int_equal(sonde_skywalking_bucket(UINT64_MAX), SONDE_SKYWALKING_BOUNDS - 1);
	assert_int_equal(sonde_skywalking_bounds_us[SONDE_SKYWALKING_BOUNDS - 1], 5000000);
}

static void a_name_is_cut_at_a_whole_character(void **state)
{
	char s[6];

	sonde_process_set_name(s, sizeof(s), "abcdefg");
	assert_string_equal(s, "abcde");
	sonde_process_set_name(s, sizeof(s), "abcd\xc3\xa9");
	assert_string_equal(s, "abcd");
	sonde_process_set_name(s, sizeof(s), "abc\xc3\xa9");
	assert_string_equal(s, "abc\xc3\xa9");
	sonde_process_set_name(s, sizeof(s), "a\x01\xff\xc3");
	assert_string_equal(s, "a___");
	sonde_process_set_name(s, sizeof(s), "");
	assert_string_equal(s, "_");
}

/* OAP cuts at 70 of Java's characters: a name that it would cut has another id there than its meters say. */
static void an_entity_is_cut_at_seventy_utf16_units(void **state)
{
	char long_text[400] = "", name[SONDE_PROCESS_NAME_MAX];

	for (int i = 0; i < 70; i++)
		(void)strncat(long_text, "\xe4\xb8\xad", 4); /* three bytes, one unit */
	assert_false(sonde_process_set_entity(name, long_text));
	assert_string_equal(name, long_text);
	(void)strncat(long_text, "x", 2);
	assert_true(sonde_process_set_entity(name, long_text));
	assert_int_equal(strlen(name), 210);
	long_text[0] = '\0';
	for (int i = 0; i < 36; i++)
		(void)strncat(long_text, "\xf0\x9f\x98\x80", 5); /* four bytes, two units */
	assert_true(sonde_process_set_entity(name, long_text));
	assert_int_equal(strlen(name), 140);
	(void)snprintf(long_text, sizeof(long_text), "%069d\xf0\x9f\x98\x80", 0);
	assert_true(sonde_process_set_entity(name, long_text)); /* no half of a pair */
	assert_int_equal(strlen(name), 69);
}

static void labels_are_owned_and_bounded(void **state)
{
	_cleanup_(sonde_process_unrefp) struct sonde_process *p = NULL;
	char a[] = "blue", b[] = "", *labels[SONDE_PROCESS_LABELS_MAX + 1];

	assert_ok(sonde_process_new(1, 1, &p));
	for (size_t i = 0; i < ELEMENTS_OF(labels); i++)
		labels[i] = i ? b : a;
	assert_ok(sonde_process_set_labels(p, labels, 2));
	a[0] = 'g';
	assert_int_equal(p->n_labels, 2);
	assert_string_equal(p->labels[0], "blue");
	assert_string_equal(p->labels[1], "_");
	assert_err(sonde_process_set_labels(p, labels, ELEMENTS_OF(labels)), ENOSPC);
	assert_ok(sonde_process_set_labels(p, NULL, 0));
	assert_int_equal(p->n_labels, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_task_state_survives_its_name),
		cmocka_unit_test(each_drop_reason_has_words),
		cmocka_unit_test(a_drop_reason_finds_its_class),
		cmocka_unit_test(a_site_tells_more_than_the_reason),
		cmocka_unit_test(each_ledger_site_has_a_name_of_its_own),
		cmocka_unit_test(each_meter_has_a_name_of_its_own),
		cmocka_unit_test(skywalking_bounds_ascend_and_take_their_own_value),
		cmocka_unit_test(a_name_is_cut_at_a_whole_character),
		cmocka_unit_test(an_entity_is_cut_at_seventy_utf16_units),
		cmocka_unit_test(labels_are_owned_and_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
