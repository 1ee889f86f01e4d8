# SPDX-License-Identifier: GPL-2.0
"""The model's register offsets are those of the kernel's structures.

The KUnit register file is laid out by the same structures, so the model, the
drivers and the KUnit cases agree.
"""

import subprocess
from pathlib import Path

import pytest

from qemu.bench import HEADER, REG
from scripts.workbench import LINUX

KERNEL = "include/linux/switchtec.h"
# What the register structures end before: driver state, which needs the kernel
END = "struct switchtec_ntb;"
PRELUDE = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32;
typedef uint64_t u64;
#define __packed __attribute__((packed))
#define BIT(n) (1u << (n))
#define BIT_ULL(n) (1ull << (n))
"""

NTB, CTRL, DBMSG = ("offsetof(struct ntb_%s_regs, %%s)" % n
                    for n in ("info", "ctrl", "dbmsg"))
PFF, PART = ("offsetof(struct %s, %%s)" % n
             for n in ("pff_csr_regs", "part_cfg_regs"))
SYS = "offsetof(struct sys_info_regs, %s)"
MRPC = "offsetof(struct mrpc_regs, %s)"
COUNT = "sizeof(((struct %s *)0)->%s) / sizeof(((struct %s *)0)->%s[0])"
SIZE = "sizeof(((struct %s *)0)->%s[0])"


def count(struct: str, field: str) -> str:
    return COUNT % (struct, field, struct, field)


EXPECTED = {
    "PARTITIONS": count("ntb_info_regs", "ntp_info"),
    "MRPC_CMD": MRPC % "cmd",
    "MRPC_STATUS": MRPC % "status",
    "MRPC_RET_VALUE": MRPC % "ret_value",
    "SYS_INFO_BASE": "SWITCHTEC_GAS_SYS_INFO_OFFSET",
    "SYS_INFO_SIZE": "SWITCHTEC_GAS_FLASH_INFO_OFFSET - "
                     "SWITCHTEC_GAS_SYS_INFO_OFFSET",
    "SYS_DEVICE_ID": SYS % "device_id",
    "SYS_GEN3_PARTITION": SYS % "gen3.partition_id",
    "SYS_GEN3_VENDOR": SYS % "gen3.vendor_id",
    "SYS_GEN3_PRODUCT": SYS % "gen3.product_id",
    "SYS_GEN4_PARTITION": SYS % "gen4.partition_id",
    "SYS_GEN4_VENDOR": SYS % "gen4.vendor_id",
    "SYS_GEN4_PRODUCT": SYS % "gen4.product_id",
    "PART_CFG_BASE": "SWITCHTEC_GAS_PART_CFG_OFFSET",
    "PART_CFG_SIZE": "sizeof(struct part_cfg_regs)",
    "PART_CFG_USP_PFF": PART % "usp_pff_inst_id",
    "PART_CFG_VEP_PFF": PART % "vep_pff_inst_id",
    "PART_CFG_DSP_PFF": PART % "dsp_pff_inst_id",
    "PART_CFG_DSP_PFFS": count("part_cfg_regs", "dsp_pff_inst_id"),
    "PART_CFG_MRPC_COMP": PART % "mrpc_comp_hdr",
    "NTB_BASE": "SWITCHTEC_GAS_NTB_OFFSET",
    "NTB_PARTITION_COUNT": NTB % "partition_count",
    "NTB_PARTITION_ID": NTB % "partition_id",
    "NTB_EP_MAP": NTB % "ep_map",
    "NTB_REQUESTER_ID": NTB % "requester_id",
    "NTB_PART_INFO": NTB % "ntp_info",
    "NTB_PART_INFO_SIZE": SIZE % ("ntb_info_regs", "ntp_info"),
    "NTB_TARGET_LOW": NTB % "ntp_info[0].target_part_low",
    "NTB_TARGET_HIGH": NTB % "ntp_info[0].target_part_high",
    "CTRL_BASE": "SWITCHTEC_GAS_NTB_OFFSET + SWITCHTEC_NTB_REG_CTRL_OFFSET",
    "CTRL_SIZE": "sizeof(struct ntb_ctrl_regs)",
    "CTRL_STATUS": CTRL % "partition_status",
    "CTRL_OP": CTRL % "partition_op",
    "CTRL_LUT_ENTRIES": CTRL % "lut_table_entries",
    "CTRL_REQ_ID_SIZE": CTRL % "req_id_table_size",
    "CTRL_BARS": count("ntb_ctrl_regs", "bar_entry"),
    "CTRL_BAR": CTRL % "bar_entry[0].ctl",
    "CTRL_BAR_SIZE": SIZE % ("ntb_ctrl_regs", "bar_entry"),
    "CTRL_BAR_WIN": CTRL % "bar_entry[0].win_size",
    "CTRL_BAR_XLATE": CTRL % "bar_entry[0].xlate_addr",
    "CTRL_BAR_EXT": CTRL % "bar_ext_entry[0].win_size",
    "CTRL_BAR_EXT_SIZE": SIZE % ("ntb_ctrl_regs", "bar_ext_entry"),
    "CTRL_REQ_ID": CTRL % "req_id_table",
    "CTRL_REQ_IDS": count("ntb_ctrl_regs", "req_id_table"),
    "CTRL_LUT": CTRL % "lut_entry",
    "CTRL_LUTS": count("ntb_ctrl_regs", "lut_entry"),
    "DBMSG_BASE": "SWITCHTEC_GAS_NTB_OFFSET + SWITCHTEC_NTB_REG_DBMSG_OFFSET",
    "DBMSG_SIZE": "sizeof(struct ntb_dbmsg_regs)",
    "DBMSG_ODB": DBMSG % "odb",
    "DBMSG_ODB_MASK": DBMSG % "odb_mask",
    "DBMSG_IDB": DBMSG % "idb",
    "DBMSG_IDB_MASK": DBMSG % "idb_mask",
    "DBMSG_VEC_MAP": DBMSG % "idb_vec_map",
    "DBMSG_VECS": count("ntb_dbmsg_regs", "idb_vec_map"),
    "DBMSG_MSG_MAP": DBMSG % "msg_map",
    "DBMSG_MSGS": count("ntb_dbmsg_regs", "imsg"),
    "DBMSG_OMSG": DBMSG % "omsg",
    "DBMSG_IMSG": DBMSG % "imsg",
    "DBMSG_IMSG_SIZE": SIZE % ("ntb_dbmsg_regs", "imsg"),
    "DBMSG_MSIX": DBMSG % "msix_table",
    "DBMSG_PBA": DBMSG % "pba",
    "PFF_BASE": "SWITCHTEC_GAS_PFF_CSR_OFFSET",
    "PFF_SIZE": "sizeof(struct pff_csr_regs)",
    "PFF_VENDOR": PFF % "vendor_id",
    "PFF_LINK_STATUS": PFF % "pci_cap_region[13]",
    "PFF_LINK_STATE": PFF % "link_state_hdr",
}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The expressions of EXPECTED, computed from the kernel's header."""
    header = LINUX / KERNEL
    if not header.exists():
        pytest.skip(f"{header} is missing: make tree")
    text = header.read_text()
    assert END in text, f"{KERNEL}: where do the register structures end?"
    structures = "\n".join(line for line in text[:text.index(END)].splitlines()
                           if not line.startswith("#include")) + "\n#endif\n"
    prints = "".join(f'printf("{name} %zu\\n", (size_t)({expression}));\n'
                     for name, expression in EXPECTED.items())
    folder: Path = tmp_path_factory.mktemp("regs")
    source = folder / "offsets.c"
    source.write_text(f"{PRELUDE}{structures}int main(void) {{\n{prints}"
                      "return 0; }\n")
    subprocess.run(["gcc", "-o", folder / "offsets", source], check=True)
    output = subprocess.run([folder / "offsets"], capture_output=True,
                            text=True, check=True).stdout
    return {name: int(value) for name, value in
            (line.split() for line in output.splitlines())}


def test_every_register_is_compared() -> None:
    assert set(REG) == set(EXPECTED), HEADER.name


@pytest.mark.parametrize("name", EXPECTED)
def test_offset(kernel: dict[str, int], name: str) -> None:
    assert REG[name] == kernel[name]
