"""Why a model of someone else is not the network that it should be."""

from densenet_tools.diagnosis.diagnosing import diagnose as diagnose, recognized as recognized
from densenet_tools.diagnosis.page import to_html as to_html
from densenet_tools.diagnosis.report import to_json as to_json, to_text as to_text
from densenet_tools.diagnosis.verdict import Diagnosis as Diagnosis
