using System.ComponentModel;
using System.Globalization;

namespace EfEnvelope.Reencryption;

/// <summary>A window as text, for configuration and for a scheduler's job data.</summary>
internal sealed class ReencryptionWindowConverter : TypeConverter
{
    public override bool CanConvertFrom(ITypeDescriptorContext? context, Type sourceType) => sourceType == typeof(string) || base.CanConvertFrom(context, sourceType);

    public override object? ConvertFrom(ITypeDescriptorContext? context, CultureInfo? culture, object value)
        => value is string text ? ReencryptionWindow.Parse(text) : base.ConvertFrom(context, culture, value);
}
