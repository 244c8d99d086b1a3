"""The JetClass file layout (arXiv:2202.03772, Zenodo 6619768): names, dtypes and file numbers.

Plain constants, so that the simulation that writes such files and the reader of them agree.
"""

TREE = "tree"

# file-name prefix of each process -> the label branch that is set in its files
LABEL_OF_PROCESS = {
    "ZJetsToNuNu": "label_QCD",
    "HToBB": "label_Hbb",
    "HToCC": "label_Hcc",
    "HToGG": "label_Hgg",
    "HToWW4Q": "label_H4q",
    "HToWW2Q1L": "label_Hqql",
    "ZToQQ": "label_Zqq",
    "WToQQ": "label_Wqq",
    "TTBar": "label_Tbqq",
    "TTBarLep": "label_Tbl",
}
PROCESSES = tuple(LABEL_OF_PROCESS)
LABELS = tuple(LABEL_OF_PROCESS.values())

# one value a particle: momenta in GeV, impact parameters in mm
PARTICLE_DTYPES = {
    "part_px": "float32",
    "part_py": "float32",
    "part_pz": "float32",
    "part_energy": "float32",
    "part_deta": "float32",
    "part_dphi": "float32",
    "part_d0val": "float32",
    "part_d0err": "float32",
    "part_dzval": "float32",
    "part_dzerr": "float32",
    "part_charge": "float32",
    "part_isChargedHadron": "int32",
    "part_isNeutralHadron": "int32",
    "part_isPhoton": "int32",
    "part_isElectron": "int32",
    "part_isMuon": "int32",
}

# one value a jet: the labels, then jet kinematics in GeV, then the truth parton
JET_DTYPES = {
    "label_QCD": "float32",
    "label_Hbb": "bool",
    "label_Hcc": "bool",
    "label_Hgg": "bool",
    "label_H4q": "bool",
    "label_Hqql": "bool",
    "label_Zqq": "int32",
    "label_Wqq": "int32",
    "label_Tbqq": "int32",
    "label_Tbl": "int32",
    "jet_pt": "float32",
    "jet_eta": "float32",
    "jet_phi": "float32",
    "jet_energy": "float32",
    "jet_nparticles": "float32",
    "jet_sdmass": "float32",
    "jet_tau1": "float32",
    "jet_tau2": "float32",
    "jet_tau3": "float32",
    "jet_tau4": "float32",
    "aux_genpart_eta": "float32",
    "aux_genpart_phi": "float32",
    "aux_genpart_pid": "float32",
    "aux_genpart_pt": "float32",
    "aux_truth_match": "float32",
}

# the numbers that the files of each split carry: HToBB_000 … HToBB_099 are training files
SPLIT_INDICES = {"train": range(0, 100), "test": range(100, 120), "val": range(120, 125)}


def file_name(process: str, index: int) -> str:
    """Return the name of a file of the data set, for example `HToBB_000.root`."""
    return f"{process}_{index:03d}.root"
