"""Networks: tensors in, tensors out; they know nothing of landmarks, millimetres or files.

Every network takes images ``(B, C, *shape)`` of any shape, 2D or 3D, and the fully convolutional
ones return maps ``(B, L, *shape)`` on exactly the voxels that came in.
"""

from anatomark.networks.gu2net import GU2Net
from anatomark.networks.regressor import Regressor
from anatomark.networks.strided_unet import StridedUNet
from anatomark.networks.unet import UNet

__all__ = ["GU2Net", "Regressor", "StridedUNet", "UNet"]
