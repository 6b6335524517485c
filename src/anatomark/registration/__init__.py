"""From points to aligned images: fits of points, surfaces, refinement by intensity.

Fixed and moving: the moving image is brought onto the fixed one, and every map that is found here
*pushes* moving points onto fixed ones (``source`` is moving, ``target`` is fixed).
"""
