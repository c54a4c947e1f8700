/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
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

static void each_ledger_site_has_a_name_of_its_own(void **state)
{
	for (unsigned i = 0; i < _SONDE_LEDGER_MAX; i++) {
		const struct sonde_ledger_info *info = sonde_ledger_info(i);

		assert_non_null(info->name);
		assert_non_null(info->words);
		assert_ptr_equal(sonde_ledger_find(info->name), info);
	}
	assert_null(sonde_ledger_find("none"));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_task_state_survives_its_name),
		cmocka_unit_test(a_drop_reason_finds_its_class),
		cmocka_unit_test(each_ledger_site_has_a_name_of_its_own),
		cmocka_unit_test(each_meter_has_a_name_of_its_own),
		cmocka_unit_test(skywalking_bounds_ascend_and_take_their_own_value),
		cmocka_unit_test(a_name_is_cut_at_a_whole_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
